"""Serves the page in a thread of its own, until it is left."""

import os
import socket
import ssl
import sys
import threading
from pathlib import Path
from typing import Self

import uvicorn

from fanfold.page.actions import Operations
from fanfold.page.app import Page
from fanfold.page.catalogue import Catalogue
from fanfold.page.guard import Guard
from fanfold.page.settings import PageSettings, is_loopback
from fanfold.page.users import Users
from fanfold.schemas.errors import InvalidInputError

NAMES_OF_LOOPBACK = frozenset({"127.0.0.1", "localhost", "[::1]"})
POLITENESS = 5
"""What is added to the priority's number: whoever trains on this machine goes first."""
END_SECONDS = 2
"""For which answers under way may go on at the end."""


class PageServer:
    """A context manager; `url` is the page's address while it is entered.

    Args:
        folder: of one run or of several.
        settings: the address, and what protects it.
        operations: does what operators ask; None where there is only a folder.
        prefix: of the options that the settings come from, for what is said.

    Raises:
        InvalidInputError: if the address, the users or the certificate cannot be used.
    """

    def __init__(
        self,
        folder: Path,
        settings: PageSettings,
        *,
        operations: Operations | None = None,
        prefix: str = "",
    ) -> None:
        users = None if settings.users is None else Users(settings.users)
        is_secure = settings.certificate is not None
        if is_secure:
            _check_certificate(settings, prefix)
        self._socket = _listening(settings, prefix)
        port = self._socket.getsockname()[1]
        self.url = f"{'https' if is_secure else 'http'}://{settings.host}:{port}/"
        page = Page(
            Catalogue(folder) if operations is None else Catalogue(folder, operations.queues),
            guard=Guard(users, is_secure=is_secure),
            operations=operations,
            is_ending=lambda: self._server.should_exit,
        )
        hosts = NAMES_OF_LOOPBACK | {settings.host} if is_loopback(settings.host) else None
        self._server = uvicorn.Server(
            uvicorn.Config(
                page.app(hosts=hosts),
                http="h11",
                loop="asyncio",
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                timeout_graceful_shutdown=END_SECONDS,
                ssl_certfile=settings.certificate,
                ssl_keyfile=settings.key,
            )
        )
        self._thread = threading.Thread(target=self._serve, name="page", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join()
        self._socket.close()

    def _serve(self) -> None:
        if sys.platform == "linux":  # where a thread has a priority of its own, as those it starts
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), POLITENESS)
        self._server.run([self._socket])


def _check_certificate(settings: PageSettings, prefix: str) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    assert settings.certificate is not None  # so says the caller
    try:
        context.load_cert_chain(settings.certificate, settings.key)
    except OSError as error:  # of ssl, too
        raise InvalidInputError(
            f"--{prefix}certificate {settings.certificate} and --{prefix}key {settings.key} cannot "
            f"be used ({error.strerror or error}); name PEM files that belong together"
        ) from None


def _listening(settings: PageSettings, prefix: str) -> socket.socket:
    host, port = settings.host, settings.port
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(family)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    except OSError as error:
        raise InvalidInputError(
            f"--{prefix}host {host} is no address of this machine ({error.strerror})"
        ) from None
    try:
        listening.bind(address)
        listening.listen()  # who comes before the server is ready waits
    except OSError as error:
        listening.close()
        raise InvalidInputError(
            f"--{prefix}port {port} cannot be used at {host} ({error.strerror}); choose another "
            "port, or 0 for any"
        ) from None
    return listening

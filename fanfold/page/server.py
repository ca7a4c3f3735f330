"""Serves the page in a thread of its own, until it is left."""

import socket
import threading
from pathlib import Path
from typing import Self

import uvicorn

from fanfold.page.app import Page
from fanfold.page.catalogue import Catalogue
from fanfold.page.settings import PageSettings
from fanfold.schemas.errors import InvalidInputError

LOOPBACK = "127.0.0.1"
HOSTS = frozenset({"127.0.0.1", "localhost"})
END_SECONDS = 2
"""For which answers under way may go on at the end."""


class PageServer:
    """A context manager; `url` is the page's address while it is entered.

    Args:
        folder: of one run or of several.
        settings: the address.

    Raises:
        InvalidInputError: if the port cannot be used.
    """

    def __init__(self, folder: Path, settings: PageSettings) -> None:
        self._socket = _listening(settings.port)
        self.url = f"http://{LOOPBACK}:{self._socket.getsockname()[1]}/"
        page = Page(Catalogue(folder), is_ending=lambda: self._server.should_exit)
        self._server = uvicorn.Server(
            uvicorn.Config(
                page.app(hosts=HOSTS),
                http="h11",
                loop="asyncio",
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                timeout_graceful_shutdown=END_SECONDS,
            )
        )
        self._thread = threading.Thread(
            target=self._server.run, args=([self._socket],), name="page", daemon=True
        )

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join()
        self._socket.close()


def _listening(port: int) -> socket.socket:
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((LOOPBACK, port))
    except OSError as error:
        listening.close()
        raise InvalidInputError(
            f"--port {port} cannot be used ({error.strerror}); choose another port, or 0 for any"
        ) from None
    return listening

"""The HTTP endpoint of a service: `/metrics`, `/health` and `/ready`."""

import threading
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Protocol, Self

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from fanfold.schemas.errors import InvalidInputError


def release() -> str:
    """Return the version of this program."""
    try:
        return version("fanfold")
    except PackageNotFoundError:  # run from a source tree that is not installed
        return "unknown"


class Watched(Protocol):
    """The metrics of a service, and whether it is ready."""

    registry: CollectorRegistry
    is_ready: Callable[[], bool]


class Endpoint:
    """Listens on every interface while it is entered; a context manager.

    `/health` succeeds while the process is alive, with or without a broker; `/ready` only while the
    service is connected and subscribed.

    Args:
        port: the port to listen on; 0 takes any that is free.
        watched: the metrics of a service.

    Raises:
        InvalidInputError: if the port cannot be used.
    """

    def __init__(self, port: int, watched: Watched) -> None:
        try:
            self._server = _Server(("", port), _handler(watched))
        except OSError as error:
            raise InvalidInputError(
                f"--metrics-port {port} cannot be used ({error.strerror}); choose another port"
            ) from None
        self.port = int(self._server.server_address[1])
        self._thread = threading.Thread(
            target=self._server.serve_forever, name="endpoint", daemon=True
        )

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True


def _handler(watched: Watched) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = 10.0  # seconds, after which a connection without a request is closed

        def do_GET(self) -> None:
            match self.path.partition("?")[0]:
                case "/metrics":
                    content = generate_latest(watched.registry)
                    self._answer(HTTPStatus.OK, content, CONTENT_TYPE_LATEST)
                case "/health":
                    self._answer(HTTPStatus.OK, b"alive\n")
                case "/ready" if watched.is_ready():
                    self._answer(HTTPStatus.OK, b"connected and subscribed\n")
                case "/ready":
                    self._answer(HTTPStatus.SERVICE_UNAVAILABLE, b"not connected and subscribed\n")
                case _:
                    self._answer(HTTPStatus.NOT_FOUND, b"there are /metrics, /health and /ready\n")

        def _answer(self, status: HTTPStatus, body: bytes, kind: str = "text/plain") -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Log nothing: there is a probe every few seconds."""

    return Handler

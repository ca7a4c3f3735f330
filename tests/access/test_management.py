"""The client of RabbitMQ's management API: whom it trusts, and what it says when refused."""

import ssl
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import trustme

from fanfold.access.management import ManagementClient
from fanfold.monitoring.status.queues import queues_of
from fanfold.schemas.errors import BrokerUnreachableError, InvalidInputError
from fanfold.transport import client_context


def test_the_login_of_the_management_api_is_the_brokers_unless_it_is_named() -> None:
    theirs = ManagementClient("https://eve:secret@monitor:15671/rabbit/", login=("ada", "p@ss"))
    ours = ManagementClient("http://[::1]:15672", login=("ada", "p@ss"))

    assert (theirs.url, theirs.login) == ("https://monitor:15671/rabbit", "eve")
    assert (ours.url, ours.login) == ("http://[::1]:15672", "ada")
    assert "secret" not in repr(theirs)


@pytest.mark.parametrize(
    "url", ["secret:15672", "file:///secret", "http://eve:secret@", "http://eve:secret@x:y"]
)
def test_what_is_no_management_address_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(InvalidInputError, match="must look like http://login") as refusal:
        ManagementClient(url, login=("guest", "guest"))
    assert "secret" not in str(refusal.value)


def test_https_is_held_to_the_ca_that_was_named(tmp_path: Path) -> None:
    """A management API with a certificate of a private CA."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")

    class Queues(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = b'{"items": [], "page_count": 1}'
            self.send_response(HTTPStatus.OK)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Nobody reads it."""

    with HTTPServer(("127.0.0.1", 0), Queues) as server:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("localhost").configure_cert(context)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"https://localhost:{server.server_port}"
        trusting = client_context(ca_file=tmp_path / "ca.pem")

        login = ("me", "x")

        assert queues_of(ManagementClient(url, login=login, tls=trusting), "/", "F") == []
        with pytest.raises(BrokerUnreachableError, match="CERTIFICATE_VERIFY_FAILED"):
            queues_of(ManagementClient(url, login=login), "/", "F")
        server.shutdown()


def test_a_login_is_not_sent_on_to_where_an_answer_points() -> None:
    """A redirection is told, and not followed."""
    asked: list[str] = []

    class Elsewhere(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(HTTPStatus.FOUND)
            self.send_header("Location", "/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Nobody reads it."""

    with HTTPServer(("127.0.0.1", 0), Elsewhere) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        management = ManagementClient(f"http://127.0.0.1:{server.server_port}", login=("me", "x"))
        with pytest.raises(BrokerUnreachableError, match=r"could not look at the overview: 302"):
            management.get("overview")
        server.shutdown()

    assert asked == ["/api/overview"]

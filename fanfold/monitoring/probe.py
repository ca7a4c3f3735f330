"""`python -m fanfold.monitoring.probe health|ready [PORT]`: for images, which bring no curl.

Exit code 0 if the service on this machine answers with a success. Imports as little as possible.
"""

import sys
from http import HTTPStatus
from http.client import HTTPConnection

DEFAULT_PORT = 9464
PATIENCE_SECONDS = 4.0


def answers(page: str, port: int) -> bool:
    """Return whether the page answers with a success."""
    connection = HTTPConnection("127.0.0.1", port, timeout=PATIENCE_SECONDS)
    try:
        connection.request("GET", f"/{page}")
        return connection.getresponse().status == HTTPStatus.OK
    except OSError:
        return False
    finally:
        connection.close()


if __name__ == "__main__":
    page, *port = sys.argv[1:]
    sys.exit(0 if answers(page, int(port[0]) if port else DEFAULT_PORT) else 1)

"""What goes to standard error beside the events."""

import subprocess
import sys

SPOKEN = """
import logging

from fanfold.cli import logs

logs.set_up("text")
for level in ("info", "warning"):
    getattr(logging.getLogger("httpx"), level)(f"{level} of a request")
"""


def test_no_request_to_the_management_api_has_a_line() -> None:
    """`fanfold status` asks again and again: its answer would stand below as many lines."""
    spoken = subprocess.run(
        [sys.executable, "-c", SPOKEN], capture_output=True, text=True, check=True
    )
    (line,) = spoken.stderr.splitlines()
    assert "warning of a request" in line

"""A service started by `fanfold local` ends with it: its standard input is its lifeline."""

import os
import signal
import sys
import threading

VARIABLE = "FANFOLD_LIFELINE"


def hold() -> None:
    """Where a lifeline was given, end orderly when it is cut. Nothing otherwise."""
    if os.environ.pop(VARIABLE, None):
        threading.Thread(target=_watch, name="lifeline", daemon=True).start()


def _watch() -> None:
    while os.read(sys.stdin.fileno(), 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)

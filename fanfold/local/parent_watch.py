"""Ends a service together with the `fanfold local` that started it, by a pipe between the two."""

import os
import signal
import sys
import threading

VARIABLE = "FANFOLD_END_WITH_PARENT"
"""Set for a child process whose standard input is a pipe that its parent holds open."""


def end_with_parent() -> None:
    """End this process with SIGTERM once its parent has ended, if the parent asked for that."""
    if os.environ.pop(VARIABLE, None):
        threading.Thread(target=_wait_for_the_end, name="parent watch", daemon=True).start()


def _wait_for_the_end() -> None:
    while os.read(sys.stdin.fileno(), 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)

"""SIGTERM and SIGINT, which must mean something from the first moment on.

A container's process is process 1, for which the kernel knows no default: a signal without a
handler is dropped, and `docker stop` would wait its whole grace time out while torch is imported.
"""

import os
import signal
import sys
import threading
from collections.abc import Callable

_EXIT_CODE_OF_SIGNAL = 128  # plus its number, as a shell says it


def end_at_once_on_sigterm() -> None:
    """Until a service can end in good order, there is nothing to bring in order."""
    signal.signal(signal.SIGTERM, _end_at_once)


def stop_on_signals(stop: Callable[[str], None]) -> None:
    """Let SIGTERM and SIGINT end a service in good order; a second one ends it at once."""

    def handle(number: int, _frame: object) -> None:
        signal.signal(number, _end_at_once)
        # In a thread of its own: the interrupted code may hold the very lock that `stop` needs.
        threading.Thread(target=stop, args=(signal.Signals(number).name,)).start()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, handle)


def end_now() -> None:
    """End the process although a thread of it works on; what it says is said."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def _end_at_once(number: int, _frame: object) -> None:
    os._exit(_EXIT_CODE_OF_SIGNAL + number)

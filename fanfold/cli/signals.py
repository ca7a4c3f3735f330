"""SIGTERM and SIGINT, which must mean something from the first moment on.

A container's process is process 1, for which the kernel knows no default: a signal without a
handler is dropped, and `docker stop` would wait its whole grace time out while torch is imported.
"""

import os
import signal
import sys
import threading
from collections.abc import Callable

TASK_THREAD = "evaluation"
"""The name of the thread that runs a task's own code."""
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


def end_now(code: int = 0) -> None:
    """End the process although a thread of it works on; what it says is said."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def end(code: int) -> None:
    """End the process; at once if a thread is in a task's code, which would not see the end."""
    if any(thread.name == TASK_THREAD for thread in threading.enumerate()):
        end_now(code)
    sys.exit(code)


def _end_at_once(number: int, _frame: object) -> None:
    os._exit(_EXIT_CODE_OF_SIGNAL + number)

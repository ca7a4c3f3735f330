"""Handlers of SIGTERM and SIGINT, needed from the start of the process.

In a container the process is number 1, for which the kernel has no default action: a signal without
a handler is dropped, and during the import of torch `docker stop` would wait for its whole timeout.
"""

import os
import signal
import sys
import threading
from collections.abc import Callable

TASK_THREAD = "evaluation"
"""The name of the thread in which a task's own evaluation runs."""
_EXIT_CODE_OF_SIGNAL = 128  # plus its number, as a shell says it
INTERRUPTED = _EXIT_CODE_OF_SIGNAL + signal.SIGINT
"""The exit code of every command that Ctrl-C has ended."""

_received: list[signal.Signals] = []
"""The signals that asked this process to end, in their order."""


def end_at_once_on_sigterm() -> None:
    """Let SIGTERM end the process at once: before a service runs, nothing has to be finished."""
    signal.signal(signal.SIGTERM, _end_at_once)


def stop_on_signals(stop: Callable[[str], None]) -> None:
    """Let SIGTERM and SIGINT call `stop`; a second signal ends the process at once."""

    def handle(number: int, _frame: object) -> None:
        _received.append(signal.Signals(number))
        signal.signal(number, _end_at_once)
        # In a thread of its own: the interrupted code may hold the very lock that `stop` needs.
        threading.Thread(target=stop, args=(signal.Signals(number).name,)).start()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, handle)


def close_round_on_signal(close: Callable[[], None]) -> None:
    """Let SIGUSR1 call `close`, which takes no lock that the interrupted code may hold."""
    signal.signal(signal.SIGUSR1, lambda _number, _frame: threading.Thread(target=close).start())


def exit_code(otherwise: int) -> int:
    """Return the exit code of a command that ends before its work is done."""
    return INTERRUPTED if _received[:1] == [signal.SIGINT] else otherwise


def end_now(code: int = 0) -> None:
    """End the process although a thread still works; output is flushed first."""
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

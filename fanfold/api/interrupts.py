"""Ctrl-C in a script or notebook."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

OnReady = Callable[[Callable[[str], None]], None]
"""Is given the function that stops what runs."""


@contextmanager
def stopping_in_order() -> Iterator[OnReady]:
    """Let Ctrl-C stop what runs in order, and a second one interrupt it at once.

    What Ctrl-C did before is restored at the end. Outside the main thread, which alone may change
    it, nothing is changed.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda _stop: None
        return
    before = signal.getsignal(signal.SIGINT)

    def on_ready(stop: Callable[[str], None]) -> None:
        def handle(number: int, _frame: object) -> None:
            signal.signal(number, signal.default_int_handler)
            # In a thread of its own: the interrupted code may hold the very lock that `stop` needs.
            threading.Thread(target=stop, args=(signal.Signals(number).name,)).start()

        signal.signal(signal.SIGINT, handle)

    try:
        yield on_ready
    finally:
        signal.signal(signal.SIGINT, before or signal.default_int_handler)

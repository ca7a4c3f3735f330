"""What the transport tests say to a broker, and how they wait for its answer."""

import time
from collections.abc import Callable
from typing import Any, TypeVar

from fanfold.transport import Connection, EventBuffer, Outgoing

OpenConnection = Callable[..., Connection]
WAIT_SECONDS = 30.0
_T = TypeVar("_T")


def letter(queue: str, number: int = 0, body: bytes = b"hello", **more: Any) -> Outgoing:
    """A message to `queue` through the default exchange."""
    return Outgoing("", queue, body, "Letter", f"{queue}/{number}", **more)


def expect(event_buffer: EventBuffer, kind: type[_T], seconds: float = WAIT_SECONDS) -> _T:
    """The next event of that type; those before it are thrown away."""
    deadline = time.monotonic() + seconds
    while (event := event_buffer.get(max(0.0, deadline - time.monotonic()))) is not None:
        if isinstance(event, kind):
            return event
    raise AssertionError(f"no {kind.__name__} within {seconds} s")


def eventually(condition: Callable[[], object], seconds: float = WAIT_SECONDS) -> None:
    """Wait until the condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition never came true"
        time.sleep(0.01)

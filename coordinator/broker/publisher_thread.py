"""What goes out, in a thread of its own: a broker that takes nothing stops no receiving."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sent:
    """An event: an order was carried out, or failed."""

    about: object
    """What the order was submitted with."""
    error: Exception | None = None


class PublisherThread:
    """Carries out one order after another, so that whole messages never mix.

    While the broker is short of memory or disk it confirms nothing, for hours maybe. The thread
    that receives goes on meanwhile: what it commits and acknowledges is what makes room again.

    `submit` and `close` belong to the work thread; `deliver` is called from the publisher's thread.
    """

    def __init__(self, deliver: Callable[[Sent], None]) -> None:
        self._deliver = deliver
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="outbox")

    def submit(self, order: Callable[[], None], *, about: object) -> Callable[[], bool]:
        """Carry out `order` after those before it; its end comes back as `Sent`.

        Returns:
            What takes it back; that returns False if it has begun, and will end.
        """
        return self._thread.submit(self._carry_out, order, about).cancel

    def close(self) -> None:
        """Drop the orders that wait; the one under way ends with its link."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _carry_out(self, order: Callable[[], None], about: object) -> None:
        try:
            order()
        except Exception as error:  # noqa: BLE001  # judged in the work thread
            self._deliver(Sent(about, error))
        else:
            self._deliver(Sent(about))

"""Deliveries that wait for a commit, and how they may be acknowledged after it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum, auto

from fanfold.transport import Delivery, Subscription


class Due(Enum):
    """When a delivery that was taken is acknowledged."""

    NOW = auto()
    AFTER_COMMIT = auto()
    """After the next commit, because its content is not durable yet."""
    ONCE_KEPT = auto()
    """By the publisher, when it has been put into the dead letters."""


@dataclass(frozen=True, slots=True)
class DueAcks:
    """What may be acknowledged."""

    up_to: Delivery | None = None
    """This one, and all before it from the same queue."""
    singly: Sequence[Delivery] = ()
    """These, and nothing before them."""


class PendingAcks:
    """Deliveries whose effect is not durable yet, and those being put into the dead letters.

    One frame can acknowledge a delivery and all before it. But a malformed one among them may still
    be on its way to the dead letters: acknowledged with the others it could be lost, and
    acknowledging it again afterwards would make the broker close the channel.
    """

    def __init__(self) -> None:
        """Begin with nothing."""
        self._waiting: list[Delivery] = []
        self._aside: set[tuple[Subscription, int]] = set()
        self.since = 0.0
        """When the first waiting delivery arrived."""
        self.num_bytes = 0
        """Of the bodies of all that wait: the broker holds them in memory."""

    def __len__(self) -> int:
        return len(self._waiting)

    def wait(self, delivery: Delivery, now: float) -> None:
        """Add a delivery that may be acknowledged after the next commit."""
        if not self._waiting:
            self.since = now
        self.num_bytes += len(delivery.body)
        self._waiting.append(replace(delivery, body=b"", headers={}))

    def put_aside(self, delivery: Delivery) -> None:
        """Add a delivery that is acknowledged on its own, later."""
        self._aside.add((delivery.subscription, delivery.tag))

    def kept(self, delivery: Delivery) -> None:
        """Note that a delivery that was put aside is acknowledged now."""
        self._aside.discard((delivery.subscription, delivery.tag))

    def committed(self) -> DueAcks:
        """Return how to acknowledge what waited; after this, nothing waits."""
        waiting, self._waiting, self.num_bytes = self._waiting, [], 0
        if not waiting:
            return DueAcks()
        current = waiting[-1].subscription  # what an earlier one brought comes again
        waiting = [each for each in waiting if each.subscription is current]
        first_aside = min((tag for queue, tag in self._aside if queue is current), default=None)
        together = [each for each in waiting if first_aside is None or each.tag < first_aside]
        return DueAcks(together[-1] if together else None, waiting[len(together) :])

    def forget(self) -> None:
        """Drop all: their connection is lost, and they will be delivered again."""
        self._waiting.clear()
        self.num_bytes = 0
        self._aside.clear()

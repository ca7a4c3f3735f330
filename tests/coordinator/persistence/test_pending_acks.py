"""Facts about acknowledging many deliveries at once, with some among them that are put aside."""

from fanfold.coordinator.persistence.pending_acks import DueAcks, PendingAcks
from fanfold.transport import Delivery, Subscription

QUEUE = Subscription("f.results", "coordinator", 512)
OTHER = Subscription("f.results", "coordinator", 512)


def delivery(tag: int, queue: Subscription = QUEUE) -> Delivery:
    return Delivery(queue, tag, False, "Update", str(tag), "ann", {}, b"body")


def tags(due: DueAcks) -> tuple[int | None, list[int]]:
    return due.up_to and due.up_to.tag, [each.tag for each in due.singly]


def test_one_acknowledgement_is_enough_for_all_that_waited() -> None:
    """And no body is held for it."""
    waiting = PendingAcks()
    for tag in (1, 2, 5):
        waiting.wait(delivery(tag), now=float(tag))
    assert (len(waiting), waiting.since, waiting.num_bytes) == (3, 1.0, 3 * len(b"body"))
    due = waiting.committed()
    assert waiting.num_bytes == 0
    assert tags(due) == (5, [])
    assert due.up_to is not None
    assert not due.up_to.body
    assert waiting.committed() == DueAcks()


def test_a_letter_on_its_way_is_not_acknowledged_with_the_rest() -> None:
    """It would be gone before it is kept, and acknowledged twice afterwards."""
    waiting = PendingAcks()
    waiting.wait(delivery(4), now=0.0)
    waiting.put_aside(delivery(5))
    for tag in (6, 7):
        waiting.wait(delivery(tag), now=0.0)
    assert tags(waiting.committed()) == (4, [6, 7])
    waiting.wait(delivery(8), now=0.0)
    assert tags(waiting.committed()) == (None, [8])
    waiting.kept(delivery(5))
    waiting.wait(delivery(9), now=0.0)
    assert tags(waiting.committed()) == (9, [])


def test_a_letter_of_another_queue_does_not_matter() -> None:
    """Each has numbers of its own; those of a connection that is gone mean nothing."""
    waiting = PendingAcks()
    waiting.put_aside(delivery(1, OTHER))
    waiting.wait(delivery(900, OTHER), now=0.0)
    waiting.wait(delivery(2), now=0.0)
    assert tags(waiting.committed()) == (2, [])
    waiting.put_aside(delivery(3))
    waiting.forget()
    waiting.wait(delivery(4), now=0.0)
    assert tags(waiting.committed()) == (4, [])

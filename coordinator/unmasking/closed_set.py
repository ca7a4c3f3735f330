"""What a round waits for between the close of its set of updates and its aggregation."""

from typing import Protocol

from fanfold.transport import Delivery


class ClosedSet(Protocol):
    """Belongs to the work thread. A closed set outlives a crash: it is in the checkpoint."""

    @property
    def is_closed(self) -> bool:
        """Whether the set of the open round is closed, now or by an earlier coordinator."""

    @property
    def is_done(self) -> bool:
        """Whether the round can be aggregated."""

    @property
    def due_at(self) -> float:
        """When `tend` has something to do."""

    def close_set(self) -> None:
        """Let no update into the set any more; to be committed before `begin`."""

    def begin(self, now: float) -> None:
        """Ask for what is waited for."""

    def tend(self, now: float) -> None:
        """Ask again, and say who is waited for."""

    def take(self, delivery: Delivery, now: float) -> None:
        """Take a part of an answer, or drop what is none."""

    def finish(self) -> None:
        """Use the answer."""

"""What came in: toward the open round, and since the last commit."""

from collections import Counter

from fanfold.coordinator.aggregation.contribution import Contribution
from fanfold.coordinator.aggregation.refusals import Reason
from fanfold.coordinator.observer import Observer
from fanfold.coordinator.rounds.closing_rule import OpenRound
from fanfold.schemas.messages import Progress


class Tally:
    """Counts what was folded and what was refused. Belongs to the coordinator's work thread."""

    def __init__(self, observer: Observer) -> None:
        """Begin with nothing, and no round open."""
        self._observer = observer
        self._refused: Counter[str] = Counter()
        self._uncommitted: set[str] = set()
        self.round: OpenRound | None = None
        """The last one that was opened."""
        self.bytes_up = 0
        """Bytes of the updates that came in during the open round."""
        self.num_folded = 0
        """Updates folded since the last commit."""

    @property
    def refused(self) -> dict[str, int]:
        """Refusals of the open round by reason."""
        return dict(self._refused)

    @property
    def has_news(self) -> bool:
        """Whether anything was counted since the last commit."""
        return bool(self._uncommitted)

    def open(self, opened: OpenRound) -> None:
        """Count from now on toward this round."""
        self.round, self.bytes_up = opened, 0
        self._refused.clear()
        self._observer.opened(opened)

    def folded(self, contribution: Contribution, num_bytes: int) -> None:
        """Take note of an update that went into the sum."""
        self.num_folded += 1
        self.bytes_up += num_bytes
        self.arrived(contribution.participant)
        if self.round is not None:
            self.round.count(contribution.participant, staleness=contribution.staleness)
        self._observer.folded(contribution)

    def arrived(self, participant: str) -> None:
        """Take note that something of this participant has to be committed."""
        self._uncommitted.add(participant)

    def is_uncommitted(self, participant: str) -> bool:
        """Whether something of this participant was counted since the last commit."""
        return participant in self._uncommitted

    def refused_for(self, reason: Reason) -> None:
        """Take note of a message that was refused."""
        self._refused[reason] += 1
        self._observer.refused(reason)

    def progressed(self, progress: Progress) -> None:
        """Take note of what a participant says that it does."""
        self._observer.progressed(progress)

    def committed(self) -> None:
        """Take note that the checkpoint holds everything that was counted."""
        self.num_folded = 0
        self._uncommitted.clear()

"""What is known of a federation, from its queues and from copies of its messages.

Plain values; times are seconds of one monotonic clock, read by the caller.
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

from fanfold.monitoring.status.queues import QueueStatus
from fanfold.schemas.chunk_header import Labels
from fanfold.schemas.messages import Goodbye, Hello, Message, Progress, RunFinished
from fanfold.schemas.names import FederationNames


@dataclass(slots=True)
class ParticipantStatus:
    """What a participant has reported of itself."""

    heard_at: float
    doing: str = ""
    version: int | None = None
    step: int = 0
    steps: int = 0
    device: str = ""
    examples: int | None = None
    participants: int | None = None
    """Of a region: how many are present in its own federation."""


_SEALED = {Hello.KIND: "joining", Goodbye.KIND: "left"}
"""What somebody does who said this, where the rest of it cannot be read."""


@dataclass(slots=True)
class FederationStatus:
    """A federation as seen from outside; None stands for what is not known."""

    federation: str
    run: str | None = None
    epoch: int | None = None
    version: int | None = None
    """The newest version that was seen, or named in a report."""
    ended: str | None = None
    """That the run is over, and why if that was before its last round; None while it goes on."""
    accuracy: float | None = None
    """Of the last version of a run that is over, where it is known."""
    queues: list[QueueStatus] | None = None
    has_lock: bool | None = None
    """Whether a coordinator holds the lock, as its queue answered; None if it may not be asked."""
    cannot_see: list[str] = field(default_factory=list)
    """What is not known, and why, as sentences."""
    _participants: dict[str, ParticipantStatus] = field(default_factory=dict)

    def take_event(self, event: Message, now: float) -> None:
        """Take a hello, a progress report or a goodbye."""
        match event:
            case Hello():
                news = self._news(event.participant, now)
                news.doing, news.version = "joining", event.version
                news.device, news.examples = event.device, event.num_examples
                news.participants = event.participants
            case Progress():
                news = self._news(event.participant, now)
                news.doing, news.version = event.phase, event.version
                news.step, news.steps = event.step, event.steps
                news.participants = event.participants
                self.take_version(Labels(run=event.run, version=event.version), None)
            case Goodbye():
                self._news(event.participant, now).doing = "left"

    def take_sealed(self, kind: str, labels: Labels, now: float) -> None:
        """Take of a sealed event what its headers say."""
        news = self._news(labels.participant or "", now)
        news.doing = _SEALED.get(kind, "at work")
        if kind != Goodbye.KIND:
            news.version = labels.version
        if kind == Progress.KIND:
            self.take_version(Labels(run=labels.run, version=labels.version), None)

    def take_version(self, labels: Labels, epoch: int | None) -> None:
        """Take in a version: published, or held by a participant."""
        if labels.run != self.run:
            self.run, self.version, self.ended = labels.run, None, None
        if labels.version is not None and labels.version > (self.version or 0):
            self.ended = None  # somebody let it go on
        if labels.version is not None:
            self.version = max(labels.version, self.version or 0)
        if epoch is not None:
            self.epoch = epoch

    def take_end(self, finished: RunFinished) -> None:
        """Take in that a run is over."""
        self.take_version(Labels(run=finished.run, version=finished.version), None)
        self.ended, self.accuracy = finished.reason or "after its last round", finished.accuracy

    @property
    def round(self) -> int | None:
        """The open round: the one that makes the next version; None after the end."""
        return None if self.version is None or self.ended is not None else self.version + 1

    @property
    def coordinator(self) -> bool | None:
        """Whether a coordinator holds the lock."""
        if self.queues is None:
            return self.has_lock
        lock_queue = FederationNames.of(self.federation).coordinator_queue
        return any(queue.name == lock_queue for queue in self.queues)

    @property
    def is_complete(self) -> bool:
        """Return whether every connected participant has reported, so that waiting is useless."""
        if self.queues is None:
            return False
        connected = {
            name for name, queue in self._queue_by_participant().items() if queue.consumers
        }
        return connected <= set(self._participants) and (self.version is not None or not connected)

    def participants(self, now: float) -> list[dict[str, Any]]:
        """Return a row for each participant that has a queue or has reported, by id."""
        queues = self._queue_by_participant()
        return [
            self._row(name, queues.get(name), self._participants.get(name), now)
            for name in sorted(queues.keys() | self._participants.keys())
        ]

    def document(self, now: float) -> dict[str, Any]:
        """Return everything as plain values, for `--json`."""
        return {
            "federation": self.federation,
            "coordinator": self.coordinator,
            "run": self.run,
            "epoch": self.epoch,
            "version": self.version,
            "round": self.round,
            "ended": self.ended,
            "accuracy": None if self.ended is None else self.accuracy,
            "participants": self.participants(now),
            "queues": None if self.queues is None else [asdict(queue) for queue in self.queues],
            "cannot_see": self.cannot_see,
        }

    def _news(self, participant: str, now: float) -> ParticipantStatus:
        news = self._participants.setdefault(participant, ParticipantStatus(now))
        news.heard_at = now
        return news

    def _queue_by_participant(self) -> dict[str, QueueStatus]:
        prefix = FederationNames.of(self.federation).participant_queue("x").removesuffix("x")
        return {
            queue.name.removeprefix(prefix): queue
            for queue in self.queues or ()
            if queue.name.startswith(prefix)
        }

    @staticmethod
    def _row(
        name: str, queue: QueueStatus | None, news: ParticipantStatus | None, now: float
    ) -> dict[str, Any]:
        return {
            "participant": name,
            "here": _is_here(queue, news),
            "doing": _doing(queue, news),
            "version": news and news.version,
            "step": news.step if news and news.steps else None,
            "steps": news.steps if news and news.steps else None,
            "device": (news and news.device) or None,
            "examples": news and news.examples,
            "participants": news and news.participants,
            "ready": queue and queue.ready,
            "unacknowledged": queue and queue.unacknowledged,
            "heard_seconds_ago": news and round(now - news.heard_at, 1),
        }


def _is_here(queue: QueueStatus | None, news: ParticipantStatus | None) -> bool | None:
    if queue is not None:
        return queue.consumers > 0
    return None if news is None else news.doing != "left"


def _doing(queue: QueueStatus | None, news: ParticipantStatus | None) -> str:
    """Return what a participant does: its last report, or without one what its queue shows."""
    if queue is not None and not queue.consumers:
        return "away, a version is waiting" if queue.ready else "away"
    if news is not None:
        return news.doing
    return "at work" if queue is not None and queue.unacknowledged else "waiting"


def other_queues(status: FederationStatus) -> Iterable[QueueStatus]:
    """Return the queues that belong neither to a participant nor to `fanfold status`."""
    prefixes = (f"{status.federation}.participant.", f"{status.federation}.status.")
    return [queue for queue in status.queues or () if not queue.name.startswith(prefixes)]

"""What a participant did when: one lane of spans, from what a coordinator tells of it.

Plain values; times are seconds since 1970.
"""

from collections import deque
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Literal

Phase = Literal["download", "train", "upload", "wait"]
PHASES: dict[str, Phase] = {
    "downloading": "download",
    "training": "train",
    "uploading": "upload",
    "waiting": "wait",
}
"""By what participants call them."""
MOST_SPANS = 240
"""That are kept of a lane."""
WORK = ("download", "train", "upload")


@dataclass(slots=True)
class Span:
    """What one participant did for a while."""

    serial: int
    """Of the lane's spans."""
    phase: Phase
    begin: float
    version: int
    """That it works on, or waits with."""
    end: float | None = None
    """None while it goes on."""
    staleness: int | None = None
    """Of the update that came of it, in versions; None before it counted."""
    is_refused: bool = False
    changed: int = 0
    """The number of the change that made it what it is."""

    def values(self) -> list[object]:
        """Return it as it travels to the page."""
        end = None if self.end is None else round(self.end, 2)
        return [
            self.serial,
            self.phase[0],
            round(self.begin, 2),
            end,
            self.version,
            "refused" if self.is_refused else self.staleness,
        ]


@dataclass(slots=True)
class Lane:
    """The spans of one participant, oldest first; without an open one it is away."""

    spans: deque[Span] = field(default_factory=lambda: deque(maxlen=MOST_SPANS))
    changed: int = 0
    """The number of the newest change."""
    _serial: int = 0

    @property
    def open(self) -> Span | None:
        """The span that goes on."""
        return self.spans[-1] if self.spans and self.spans[-1].end is None else None

    @property
    def is_at_work(self) -> bool:
        """Whether it has a version that it has not answered."""
        return self.open is not None and self.open.phase in WORK

    def of_version(self, version: int) -> list[Span]:
        """Return the newest spans of work on a version, or of waiting with it, oldest first."""
        since = takewhile(lambda each: each.version >= version, reversed(self.spans))
        return [each for each in since if each.version == version][::-1]

    def begin(self, phase: Phase, version: int, *, at: float, change: int) -> None:
        """End what goes on, and begin something else; the same goes on as it was."""
        if self.open is not None:
            if (self.open.phase, self.open.version) == (phase, version):
                return
            self._end(at, change)
        self._serial += 1
        self.spans.append(Span(self._serial, phase, at, version, changed=change))
        self.changed = change

    def answer(
        self, base_version: int, staleness: int | None, *, at: float, change: int
    ) -> Span | None:
        """Take note that an update on this version counts, or is refused; then it waits.

        Returns:
            Its last span of work on the version; None where nothing was known of it.
        """
        if self.is_at_work and self.open is not None and self.open.version == base_version:
            self._end(at, change)
        work = [each for each in self.of_version(base_version) if each.phase in WORK]
        for each in work:
            each.staleness, each.changed = staleness, change
            each.is_refused = staleness is None
        if work and {each.phase for each in work} == {"download"}:
            work[-1].phase = "train"  # too short for a report of its own: download and training
        if self.open is None:
            self.begin("wait", base_version, at=at, change=change)
        self.changed = change
        return work[-1] if work else None

    def leave(self, *, at: float, change: int) -> None:
        """Take note that nothing is heard of it any more."""
        if self.open is not None:
            self._end(at, change)

    def add(self, span: Span) -> None:
        """Add what is over, as a history alone tells it."""
        self._serial += 1
        span.serial = self._serial
        self.spans.append(span)
        self.changed = span.changed

    def since(self, change: int) -> list[list[object]]:
        """Return the spans that are new or others since a change, as they travel."""
        return [each.values() for each in self.spans if each.changed > change]

    def _end(self, at: float, change: int) -> None:
        last = self.spans[-1]
        last.end, last.changed = max(at, last.begin), change
        self.changed = change

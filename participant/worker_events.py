"""Events between the service and the worker that answers versions; they need no torch."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from fanfold.participant.version import Version
from fanfold.schemas.errors import FanfoldError
from fanfold.schemas.events.event import Event
from fanfold.schemas.events.participant import UpdateSent
from fanfold.schemas.events.shared import TrainingNote
from fanfold.schemas.messages import UpdateRefused


class Training(Protocol):
    """What the service tells about a training; `TrainedUpdate` has more."""

    @property
    def history(self) -> Sequence[Mapping[str, float]]:
        """Means over examples for each pass of the training."""
        ...

    @property
    def seconds(self) -> float:
        """How long it took."""
        ...


MAX_REASON_CHARACTERS = 1024
"""The length of a goodbye's reason."""
ABANDON_SECONDS = 5.0
"""How long to wait for the end of abandoned work, which takes a batch at most."""


@dataclass(frozen=True, slots=True)
class Answered:
    """The update of a version is confirmed by the broker."""

    version: Version
    num_bytes: int
    trained: Training | None
    """None where a kept update was sent again."""

    def sent(self) -> UpdateSent:
        """Return what people are told of it."""
        run, number = self.version.run, self.version.number
        if self.trained is None:
            return UpdateSent(run, number, self.num_bytes)
        last = self.trained.history[-1] if self.trained.history else {}
        return UpdateSent(
            run,
            number,
            self.num_bytes,
            loss=last.get("loss"),
            seconds=round(self.trained.seconds, 3),
            epsilon=last.get("epsilon"),
            delta=last.get("delta"),
        )


@dataclass(frozen=True, slots=True)
class Abandoned:
    """The work was told to stop before the update was confirmed."""

    version: Version


@dataclass(frozen=True, slots=True)
class Forgotten:
    """A version was answered whose update is not kept any more, and its bytes are gone, too."""

    version: Version


class BaseNotHeldError(Exception):
    """Raised when a version cannot be made of its difference; the whole version can help."""


@dataclass(frozen=True, slots=True)
class NotApplied:
    """A version came as a difference that cannot be applied here, and nothing of it was used."""

    version: Version
    reason: str


@dataclass(frozen=True, slots=True)
class FinalTaken:
    """The last model of a run is kept, or there is nowhere to keep it."""

    version: Version
    told: Event


@dataclass(frozen=True, slots=True)
class Failed:
    """The work ended with an exception."""

    version: Version
    error: BaseException
    words: str
    """The reason that the coordinator is told."""


@dataclass(frozen=True, slots=True)
class Told:
    """Something that people should know."""

    event: Event


class ToldOnce:
    """Delivers each sentence about what training decides by itself, the first time."""

    def __init__(self, deliver: Callable[[object], None]) -> None:
        self._deliver = deliver
        self._told: set[str] = set()

    def __call__(self, sentence: str) -> None:
        """Take a sentence."""
        if sentence not in self._told:
            self._told.add(sentence)
            self._deliver(Told(TrainingNote(sentence)))


def last_words(
    error: BaseException, ours: tuple[type[BaseException], ...] = (FanfoldError,)
) -> str:
    """Return the reason that the coordinator is told when an error ends a participant.

    Only a sentence of `ours` travels: one of a user's code may hold private data.
    """
    if isinstance(error, ours):
        return str(error)[:MAX_REASON_CHARACTERS]
    return f"it failed with {type(error).__name__}; its own log says more"


Phase = Literal["downloading", "training", "uploading", "waiting"]


@dataclass(slots=True)
class Activity:
    """What the worker is doing, written by its thread and read by the service's."""

    phase: Phase = "waiting"
    step: int = 0
    steps: int = 0


class Worker(Protocol):
    """Works on one version at a time in a thread of its own.

    The service's thread calls; the results come back as events.
    """

    @property
    def activity(self) -> Activity:
        """What it is doing now."""
        ...

    def submit(self, version: Version) -> None:
        """Answer a version with its update."""

    def refused(self, note: UpdateRefused) -> None:
        """Take note that an update was not counted."""

    def keep_final(self, version: Version) -> None:
        """Keep the last model of a run."""

    def let_go(self) -> None:
        """Leave the state folder to who holds the id now, once the work in hand is done."""

    def abandon(self) -> None:
        """End the work soon."""

    def close(self) -> bool:
        """Abandon the work; False if it goes on all the same."""
        ...

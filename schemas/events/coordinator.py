"""Events that a coordinator tells."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from fanfold.schemas.events.event import Event

# -- a run begins, goes on, and ends


@dataclass(frozen=True)
class StandingBy(Event):
    """Another coordinator runs the federation; this one takes over when that one is gone."""

    federation: str


@dataclass(frozen=True)
class RunResumed(Event):
    """A run goes on from its checkpoint."""

    run: str
    version: int


@dataclass(frozen=True)
class RunRestored(Event):
    """A run goes on from a backup, with `--restored`."""

    run: str
    version: int
    epoch: int
    """Above all that participants have seen."""
    is_private: bool
    """Whether the run has differential privacy: what was spent since the backup is not counted."""


@dataclass(frozen=True)
class RunIsAhead(Event):
    """A participant has seen more of the run than the coordinator's folder holds."""

    participant: str
    version: int
    """What it holds."""
    epoch: int | None
    own_version: int
    own_epoch: int
    is_ignored: bool
    """Whether participants ignore this coordinator: then it waits in vain."""


@dataclass(frozen=True)
class RunStarted(Event):
    """A run begins or goes on."""

    federation: str
    run: str
    epoch: int
    """How many coordinators this folder has seen."""
    version: int
    rounds: int
    """Of the whole run."""
    task: str
    task_sha256: str | None = None
    """Of the task's source files, as `fanfold check` prints it; null where there are none."""


@dataclass(frozen=True)
class FixedPointChosen(Event):
    """Updates of this run are integers, whose sum is the same in any order."""

    bits: int
    """Fraction bits: values are multiples of 2^-bits."""
    clip: float
    """The largest L2 norm of an update; participants shorten longer ones."""
    updates: int
    """For so many updates a round has room."""
    weights: str
    """What an update's weight is: `the same for all`, or `by examples` with `--max-examples`."""


@dataclass(frozen=True)
class Stopping(Event):
    """Somebody stops the coordinator before the last round."""

    reason: str


@dataclass(frozen=True)
class EndsEarly(Event):
    """The run ends before its last round: a metric is good enough, or gets no better."""

    version: int
    """The last one."""
    reason: str


@dataclass(frozen=True)
class RunFinished(Event):
    """The last round is over, and the model is written."""

    rounds: int
    accuracy: float | None
    """Of the last version."""
    model: str
    """The file."""
    parameters_sha256: str
    left_out: Mapping[str, int] | None = None
    """Who was refused, and in how many rounds; None where nobody was."""
    refused: str | None = None
    """Why, for each the last time."""
    reason: str | None = None
    """Why it ended before the last round."""
    measured_by: str | None = None
    """As in `round_closed`."""
    upstream_version: int | None = None
    """Of a region: the last version of the run above, and its accuracy; the model is of the last
    version that came to the region, one before it."""


# -- rounds


@dataclass(frozen=True)
class RoundClosed(Event):
    """A round made a new version, which is committed and, where that was due, evaluated."""

    unprinted: ClassVar[frozenset[str]] = frozenset({"not_finite"})

    round: int
    version: int
    updates: int
    """Updates in the version."""
    examples: int
    """Examples of these updates."""
    loss: float | None
    accuracy: float | None
    bytes_down: int
    """Bytes of messages to the broker's queues."""
    bytes_up: int
    """Bytes of messages from participants."""
    seconds: float
    """Seconds from the publication of the version before to the close."""
    epsilon_zero_out: float | None = None
    """The largest privacy loss of a participant whose updates are zero in the neighbouring run."""
    epsilon_replace_one: float | None = None
    """The largest privacy loss of a participant whose updates are any others in it."""
    delta: float | None = None
    shares: Mapping[str, float] | None = None
    """How much of each participant's updates counts; None where all count as they are."""
    metrics: Mapping[str, float] | None = None
    """What the evaluation measured, as far as it is finite; None where there was none."""
    not_finite: tuple[str, ...] | None = None
    """The names of the metrics that are no finite numbers."""
    left_out: Mapping[str, str] | None = None
    """Who was refused in this round, and why; None where nobody was."""
    measured_by: str | None = None
    """`participants` if loss and accuracy are means of what they measured on their own data."""
    single_updates: int | None = None
    """Updates of participants, those in the sums of regions among them; None without such sums."""


@dataclass(frozen=True)
class ModelUnchanged(Event):
    """Nothing was learned so far: all parameters are those of version 0."""

    rounds: int
    """Rounds that are over."""


@dataclass(frozen=True)
class Waiting(Event):
    """The coordinator cannot go on before something comes."""

    for_: str
    present: int
    """Participants that are present."""
    round: int | None = None
    updates: int | None = None
    """Updates that count in the open round."""
    refused: str | None = None
    """Who was refused in this round, and why."""


@dataclass(frozen=True)
class AllRefused(Event):
    """Every participant that is present was refused in this round."""

    round: int
    for_: str
    """What the coordinator waits for, and how long."""
    refused: str | None = None


@dataclass(frozen=True)
class ParticipantsLeftOut(Event):
    """A round closed without participants, because they were refused."""

    round: int
    participants: int
    """How many."""
    present: int
    """With those of them that have left since."""
    refused: str | None = None


# -- participants


@dataclass(frozen=True)
class ParticipantJoined(Event):
    """A participant is present from now on."""

    participant: str
    device: str | None = None
    """Left out, as are the examples, where it said hello to an earlier coordinator."""
    examples: int | None = None


@dataclass(frozen=True)
class ParticipantLeft(Event):
    """A participant left on purpose."""

    participant: str
    reason: str


@dataclass(frozen=True)
class ParticipantRefused(Event):
    """A participant may not join."""

    participant: str
    login: str
    reason: str


@dataclass(frozen=True)
class ParticipantOutOfReach(Event):
    """The broker node with a participant's queue is down; the round goes on without it."""

    participant: str


@dataclass(frozen=True)
class ParticipantSilent(Event):
    """Nothing was heard of a participant at the deadline; nobody waits for it any more."""

    participant: str
    round: int


# -- refusals


@dataclass(frozen=True)
class UpdateRefused(Event):
    """An update does not count."""

    participant: str | None
    login: str | None
    base_version: int
    reason: str


@dataclass(frozen=True)
class EventRefused(Event):
    """A sign of life is not believed, because its sender is another than it says."""

    participant: str | None
    login: str | None
    base_version: None
    reason: str

"""Events that `local`, `simulate`, `replay` and `check` tell, beside those of their coordinator."""

from dataclasses import dataclass
from typing import Any

from fanfold.schemas.events.event import Event


@dataclass(frozen=True)
class BrokerStarted(Event):
    """The private broker is up."""

    broker: str


@dataclass(frozen=True)
class BrokerKept(Event):
    """The run is over, and the private broker stays until Ctrl-C."""

    management: str | None
    """The address of its management UI."""
    user: str
    password_file: str
    password: str | None = None
    """Told at a terminal only."""


@dataclass(frozen=True)
class KeeperExited(Event):
    """A keeper's process ended before the run."""

    keeper: str
    code: int
    """Its exit code."""
    reason: str


@dataclass(frozen=True)
class ParticipantExited(Event):
    """A participant's process ended before the run."""

    participant: str
    code: int
    """Its exit code."""
    reason: str


@dataclass(frozen=True)
class SimulationStarted(Event, name="run_started"):
    """A simulated run begins."""

    run: str
    mode: str
    version: int
    rounds: int | None
    """None where simulated time ends it."""
    task: str
    participants: int
    speeds: str
    dropout: float
    """Probability that a participant drops a version."""
    seed: int = 0


@dataclass(frozen=True)
class SimulationFinished(Event):
    """A simulated run is over."""

    mode: str
    rounds: int
    updates: int
    simulated_seconds: float
    accuracy: float | None
    history: str
    """The file."""
    parameters_sha256: str
    reason: str | None = None
    """Why it ended before its last round or the end of its time."""
    seed: int = 0


@dataclass(frozen=True)
class Compared(Event):
    """Simulated runs are compared where all of them have come to."""

    metric: str
    place: str
    """What the runs have in common, in words, such as `400 updates`."""
    runs: tuple[dict[str, Any], ...]
    """Of each mode: mode, seeds (how many), mean, deviation (of a sample), lowest, highest."""


@dataclass(frozen=True)
class PlotWritten(Event):
    """The metric of all modes is drawn."""

    plot: str
    """The file."""


@dataclass(frozen=True)
class Exported(Event):
    """A run's history was written as a table."""

    file: str
    rows: int
    columns: tuple[str, ...]


@dataclass(frozen=True)
class ExportedToMlflow(Event):
    """A run was written into MLflow."""

    mlflow: str
    """The folder, or the server."""
    mlflow_run: str
    """Its id there."""
    rounds: int
    models: int
    """Files: the last version and the best one, as far as they are there."""


@dataclass(frozen=True)
class PageServed(Event):
    """The page is there, until Ctrl-C."""

    url: str


@dataclass(frozen=True)
class PageAwaitsRun(Event):
    """There is no run yet where the page looks for them."""

    folder: str


@dataclass(frozen=True)
class PageLoginMade(Event):
    """The page of a service has a first login, an operator's; the file holds its password."""

    user: str
    password_file: str


@dataclass(frozen=True)
class ReportWritten(Event):
    """A report of a run was written."""

    page: str
    picture: str | None
    """The file; null with `--no-plot`, or without matplotlib."""
    tables: tuple[str, ...]
    rounds: int


@dataclass(frozen=True)
class PictureLeftOut(Event):
    """A report has no picture, because what draws it is not installed."""

    picture: str
    """The file that there is not."""


@dataclass(frozen=True)
class RoundReplayed(Event):
    """A round of the history was trained anew."""

    round: int
    updates: int


@dataclass(frozen=True)
class Replayed(Event):
    """The history was replayed."""

    rounds: int
    updates: int
    parameters_sha256: str
    """Of the parameters that came out."""
    agrees: bool
    """Whether the checkpoint holds the same."""


@dataclass(frozen=True)
class Checking(Event):
    """A check goes on to its next part."""

    now: str
    """What it does now."""


@dataclass(frozen=True)
class Checked(Event):
    """A task was checked: what it is, and what a round of it costs a participant."""

    task: str
    device: str
    groups: tuple[dict[str, Any], ...]
    """Tensors that are treated alike: name, treatment, tensors, values, bytes, dtypes, examples."""
    examples: int
    """Of the private data."""
    held_out_examples: int | None
    validation_examples: int | None
    batch: str
    """The parts of the first batch, in words."""
    bytes_down: int
    """Of one version."""
    bytes_up: int
    """Of one update."""
    seconds_per_step: float
    steps_per_epoch: int
    evaluation_seconds: float | None
    loss: float | None
    """Over the steps of the check."""
    metrics: dict[str, float]
    """Of the held-out data, after a round."""
    memory_bytes: int
    """The most that the process took; on an accelerator the most that was allocated there."""
    notes: tuple[str, ...]
    """What will not work as one might expect, and why."""
    task_sha256: str | None = None
    """Of the task's source files; null where there are none."""

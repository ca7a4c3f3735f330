"""The settings of a simulation, without those of its rounds."""

import math
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from fanfold.coordinator.rounds.closing_rule import Mode
from fanfold.coordinator.settings.checks import TRACK
from fanfold.schemas.client_settings import Positive
from fanfold.schemas.errors import InvalidInputError
from fanfold.simulation.numbers import numbers_of

Axis = Literal["time", "updates", "rounds"]
"""In what runs can be compared."""
HOUR_SECONDS = 3600.0


class SimulationSettings(BaseModel):
    """The settings of a simulation, without those of its rounds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    mode: tuple[Mode | Literal["all"], ...] = Field(
        ("sync",),
        description="sync, buffered, async or exact; repeatable, each a run of its own; or all. "
        "With several, --goal applies to buffered.",
    )
    seeds: str | None = Field(
        None,
        description="Seeds of as many runs of each mode, such as 0-4 or 0,2,5-7, instead of "
        "--seed; table and plot show their mean and spread.",
    )
    compare: Axis | None = Field(
        None,
        description="What modes have in common when they are compared: time (with "
        "--simulated-hours, the default then), updates (as many as --rounds of all participants "
        "have; the default), or rounds, which are equal in neither.",
    )
    participants: int = Field(200, ge=1, description="Simulated participants.")
    partition: str = Field("iid", description="How the data is split: iid, shards or dirichlet:A.")
    data: Path | None = Field(None, description="Folder of the data, given to the task.")
    speeds: str = Field(
        "lognormal:1.0",
        description="How many times slower than the median each participant is: constant, "
        "uniform:A:B, lognormal:S, every:N:F (every N-th F times slower), or several joined by +.",
    )
    dropout: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="Probability that a training ends without an update; its participant is then "
        "absent for as long as the training took.",
    )
    example_seconds: Positive = Field(
        1.0, description="Simulated seconds for which the median participant trains on one example."
    )
    bandwidth: tuple[str, ...] = Field(
        (),
        description="Rates at which updates go up and versions come down, UP:DOWN a second, such "
        "as 1Mbit:20Mbit or 100kB:2MB; for some participants 0-9=UP:DOWN; repeatable. By default "
        "sending takes no time.",
    )
    simulated_hours: Positive | None = Field(
        None, description="Simulated hours after which each run ends, instead of after --rounds."
    )
    evaluate_seconds: Positive | None = Field(
        None, description="Simulated seconds between evaluations, instead of --evaluate-every."
    )
    out: Path = Field(
        Path("runs/simulation"), description="Folder for histories, models and the plot."
    )
    plot: bool = Field(True, description="Draw accuracy.png, which needs matplotlib.")
    device: str | None = Field(
        None, description="Device of training and evaluation; the local accelerator by default."
    )
    track: tuple[Annotated[str, TRACK], ...] = Field(
        (),
        description="Experiment tracker that gets settings and metrics: mlflow:FOLDER, "
        "mlflow:http://HOST:PORT, wandb or wandb:PROJECT; repeatable.",
    )
    log_format: Literal["text", "json"] = Field(
        "text", description="Format of log lines: text for people, json for programs."
    )

    @property
    def until_seconds(self) -> float:
        """Simulated seconds after which each run ends; infinite where the rounds end it."""
        return math.inf if self.simulated_hours is None else self.simulated_hours * HOUR_SECONDS

    @property
    def num_runs(self) -> int:
        """How many runs there will be: one of each mode and seed."""
        return len(self.modes) * len(self.all_seeds or (None,))

    @property
    def all_seeds(self) -> tuple[int, ...] | None:
        """The seeds of each mode's runs; None where `--seed` names the only one."""
        return None if self.seeds is None else numbers_of(self.seeds, "--seeds")

    @property
    def axis(self) -> Axis:
        """In what runs are compared."""
        if self.compare is not None:
            return self.compare
        is_timed = self.simulated_hours is not None or len(self.modes) == 1
        return "time" if is_timed else "updates"

    @model_validator(mode="after")
    def _can_be_compared(self) -> Self:
        assert self.all_seeds != ()
        is_timed = self.simulated_hours is not None
        if len(self.modes) > 1 and self.compare is not None and is_timed != (self.axis == "time"):
            raise InvalidInputError(
                f"--compare {self.axis} of several modes "
                + (
                    "cannot be had with --simulated-hours, which ends them at equal time; leave "
                    "one of both out"
                    if is_timed
                    else "needs --simulated-hours, when each of them ends"
                )
            )
        return self

    @property
    def modes(self) -> tuple[Mode, ...]:
        """The modes to run, each once."""
        known: tuple[Mode, ...] = ("sync", "buffered", "async", "exact")
        return tuple(mode for mode in known if mode in self.mode or "all" in self.mode)

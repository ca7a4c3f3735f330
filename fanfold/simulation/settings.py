"""The settings of a simulation, without those of its rounds."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from fanfold.coordinator.rounds.policy import Mode
from fanfold.coordinator.settings import Positive
from fanfold.coordinator.settings.checks import TRACK


class SimulationSettings(BaseModel):
    """The settings of a simulation, without those of its rounds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    mode: tuple[Mode | Literal["all"], ...] = Field(
        ("sync",),
        description="sync, buffered, async or exact; repeatable, each a run of its own; or all. "
        "With several, --goal applies to buffered.",
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
    def modes(self) -> tuple[Mode, ...]:
        """The modes to run, each once."""
        known: tuple[Mode, ...] = ("sync", "buffered", "async", "exact")
        return tuple(mode for mode in known if mode in self.mode or "all" in self.mode)

"""The settings of the training on each participant, which the coordinator decides."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from fanfold.coordinator.rounds.lr_schedule import parse_schedule
from fanfold.coordinator.settings.checks import LR_SCHEDULE
from fanfold.schemas.messages import TrainingPlan


class TrainingSettings(BaseModel):
    """How participants train; sent with every version. The bounds are those of `TrainingPlan`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    epochs: int = Field(1, ge=0, le=10_000, description="Passes over the private data in a round.")
    steps: int | None = Field(
        None, ge=0, le=10_000_000, description="Optimizer steps in a round, instead of --epochs."
    )
    batch_size: int = Field(32, ge=1, le=1_000_000, description="Examples in a batch.")
    lr: float = Field(
        0.05, ge=0, allow_inf_nan=False, description="Learning rate of the local optimizer."
    )
    lr_schedule: Annotated[str, LR_SCHEDULE] = Field(
        "constant",
        description="Learning rate by version: constant, linear, cosine, step:N:F (F times as much "
        "every N versions), exponential:F, warmup:N, or several joined by +.",
    )
    momentum: float = Field(0.9, ge=0, lt=1, description="Momentum of the local SGD.")
    optimizer: str = Field(
        "sgd",
        pattern=r"^[A-Za-z]{1,32}$",
        description="Local optimizer: a torch.optim class, such as sgd or adam.",
    )
    proximal_mu: float = Field(
        0.0, ge=0, allow_inf_nan=False, description="Weight of FedProx's proximal term."
    )
    seed: int = Field(
        0, ge=0, lt=2**63, description="The run's seed: initial network, partitions, training."
    )
    threads: int | None = Field(
        None, ge=1, le=1024, description="CPU threads of each participant's training."
    )

    lora: Literal["ffa", "alternate"] = Field(
        "ffa",
        description="How a fanfold.HFTask tunes its adapter: ffa trains the LoRA matrix B alone, "
        "alternate trains B and A by turns of the version.",
    )

    def plan(self, version: int = 0, rounds: int = 1) -> TrainingPlan:
        """Return the plan that is sent with a version of a run of so many rounds."""
        given = {name: getattr(self, name) for name in TrainingPlan.model_fields}
        factor = parse_schedule(self.lr_schedule)(version, rounds)
        lora = ("B", "A")[version % 2] if self.lora == "alternate" else None
        return TrainingPlan(**given | {"lr": self.lr * factor, "lora": lora})

"""How a participant trains, as plain values."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class TrainingPlan:
    """How a participant trains; chosen by the coordinator, the same for every participant.

    Each participant chooses its device and its speed itself: see `Execution`.
    """

    epochs: int = 1
    """Passes over the private data; ignored where `steps` is given."""
    steps: int | None = None
    """Optimizer steps, over as many passes as needed; None trains for `epochs`."""
    batch_size: int = 32
    """Examples in a batch; the last batch of a pass may be smaller."""
    lr: float = 0.05
    """Learning rate of the local optimizer."""
    momentum: float = 0.9
    """Momentum of the local SGD; other optimizers ignore it."""
    optimizer: str = "sgd"
    """Name of a `torch.optim` class, in any case of letters."""
    proximal_mu: float = 0.0
    """Weight of FedProx's proximal term mu/2 * |w - w_base|^2; 0 leaves it out."""
    seed: int = 0
    """The run's seed; with base version and participant's id it gives the seed of a training."""
    threads: int | None = None
    """CPU threads of the training; None leaves it to the participant."""
    lora: Literal["A", "B"] | None = None
    """The LoRA matrix that trains where a task tunes an adapter; None is B."""

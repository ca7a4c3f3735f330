"""What a run makes of its updates, as plain values; reading them loads no torch."""

from dataclasses import dataclass

from fanfold.schemas.errors import InvalidInputError
from fanfold.schemas.messages import FixedPlan


@dataclass(frozen=True, slots=True)
class AggregationSettings:
    """Which rule, and what it has to know."""

    aggregator: str = "mean"
    """As in `--aggregator`."""
    is_exact: bool = False
    """Whether the model is the mean of everybody's latest local model."""
    normalize_steps: bool = False
    """Whether unequal local work is normalised, as FedNova does."""
    momentum: float = 0.0
    """Of the local SGD: what its steps are worth depends on it."""
    buckets: int | None = None
    mixing: str | None = None
    max_staleness: int = 0
    """Who is silent for more versions drops out of the mean of latest models."""
    fixed: FixedPlan | None = None
    """How updates become integers; None where they do not."""
    seed: int = 0
    """The run's: buckets are drawn with it."""

    @property
    def spec(self) -> str:
        """What tells two rules apart whose states do not fit each other."""
        if self.is_exact:
            return "exact"
        parts = [self.aggregator]
        if self.buckets is not None:
            parts.append(f"buckets {self.buckets} of seed {self.seed}")
        if self.mixing is not None:
            parts.append(self.mixing)
        if self.normalize_steps:
            parts.append(f"normalized steps of momentum {self.momentum:g}")
        return ", ".join(parts)


MEAN = AggregationSettings()
"""FedAvg's."""


def check_spec(recorded: str | None, own: str) -> None:
    """Refuse to go on with the state of another rule.

    Args:
        recorded: the `spec` that the checkpoint names; None in one of before there was a choice.
        own: that of the settings.

    Raises:
        InvalidInputError: if they differ.
    """
    began = recorded or MEAN.spec
    if began != own:
        raise InvalidInputError(
            f"the run was begun with the aggregation {began!r}, and this is {own!r}: one cannot go "
            "on with the other's state; resume with the --aggregator, --mode and --encoding that "
            "the run had, or start anew with --fresh"
        )

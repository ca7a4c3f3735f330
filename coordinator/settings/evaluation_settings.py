"""The settings of the evaluation on held-out data, and of the end that it may bring."""

from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from fanfold.coordinator.rounds.metric_goals import Goal, parse_goal, parse_metric
from fanfold.coordinator.rounds.metric_watch import MetricWatch
from fanfold.coordinator.settings.checks import METRIC


class EvaluationSettings(BaseModel):
    """Which versions are evaluated, which is the best, and when the run ends early."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    metric: Annotated[str, METRIC] | None = Field(
        None,
        description="Held-out metric of best.safetensors and --patience, with its direction: "
        "NAME:max or NAME:min (accuracy and loss need none); by default accuracy, or loss without.",
    )
    patience: int | None = Field(
        None,
        ge=1,
        description="End the run after this many evaluations in a row without a better --metric.",
    )
    until: str | None = Field(
        None,
        description="End the run when a held-out metric reaches a value: METRIC:VALUE, as in "
        "loss:0.1 or auc:max:0.9.",
    )
    until_accuracy: float | None = Field(
        None,
        gt=0,
        le=1,
        description="End the run at this held-out accuracy, as --until accuracy:VALUE does.",
    )
    evaluate_every: int = Field(
        1, ge=1, description="Rounds between evaluations; the last is always one."
    )

    @property
    def watch(self) -> MetricWatch:
        """What decides which version is the best and when the run ends, before any evaluation."""
        metric = None if self.metric is None else parse_metric(self.metric)
        goals = [] if self.until is None else [parse_goal(self.until, metric)]
        if self.until_accuracy is not None:
            option = f"--until-accuracy {self.until_accuracy:g}"
            goals.append(Goal(parse_metric("accuracy"), self.until_accuracy, option))
        return MetricWatch(metric, self.patience, goals)

    @model_validator(mode="after")
    def _until_is_a_goal(self) -> Self:
        assert self.watch
        return self

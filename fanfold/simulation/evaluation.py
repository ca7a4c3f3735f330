"""Measures the versions of a simulated run on held-out data."""

from collections.abc import Mapping

from torch import Tensor

from fanfold.learning import (
    Task,
    TrainingAbandoned,
    build_network,
    metrics_of,
    named_tensors,
    read_data,
    replace_tensors,
    shared_tensors,
    without_caches,
)
from fanfold.schemas.events.event import Say
from fanfold.schemas.events.shared import EvaluationFailed
from fanfold.simulation.round_recorder import Evaluate


def evaluation_of(task: Task, say: Say) -> Evaluate | None:
    """Return how to measure a version; None without held-out data, or with private tensors.

    An evaluation that fails is reported and skipped, as in the coordinator.
    """
    network = build_network(task)
    shared = shared_tensors(network, task.shared)
    is_whole = len(shared) == len(named_tensors(network))
    data = read_data(task, task.test_data) if is_whole else None
    if data is None:
        return None

    def evaluate(version: int, tensors: Mapping[str, Tensor]) -> Mapping[str, float]:
        try:
            shared = shared_tensors(network, task.shared)
            replace_tensors(shared, without_caches(tensors, shared))
            return metrics_of(task.evaluate(network, data))
        except TrainingAbandoned:
            raise
        except Exception as error:  # noqa: BLE001 - told in words
            reason = f"{type(error).__name__}: {error}"
            say(EvaluationFailed(version, reason))
            return {}

    return evaluate

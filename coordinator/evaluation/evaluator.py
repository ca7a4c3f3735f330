"""Evaluation on held-out data, in a thread of its own beside the rounds.

An evaluation that fails is reported and skipped, and one that is running when the run stops is
abandoned: neither delays the rounds, or a successor.
"""

import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from fanfold.coordinator.aggregation.model_form import ModelForm
from fanfold.coordinator.evaluation.model_files import write_model
from fanfold.coordinator.persistence.model_names import DIGEST
from fanfold.coordinator.rounds.metric_watch import MetricWatch
from fanfold.learning import (
    Task,
    TrainingAbandoned,
    metrics_of,
    named_tensors,
    read_data,
    replace_tensors,
    shared_tensors,
    without_caches,
)
from fanfold.schemas.tensor_codec import num_bytes, parameters_sha256

MOST_PENDING_BYTES = 256 << 20
"""Most bytes of versions that wait to be evaluated; one may always wait."""
STOP_SECONDS = 1.0
"""How long the end of a run waits for an abandoned evaluation to stop.

If a task does not check for it, the thread works on until the process ends.
"""


@dataclass(frozen=True, slots=True)
class Evaluated:
    """The evaluation of a version: metrics by name, averaged over the held-out examples."""

    version: int
    metrics: Mapping[str, float]
    tensors: Mapping[str, Tensor]
    """The tensors of that version, shared with the network that was evaluated."""
    failure: str | None = None
    """Why there are no metrics: what the task's own evaluation raised."""


class Evaluator:
    """Evaluates one version after another in a thread of its own; results come through `deliver`.

    `submit` and `close` belong to the coordinator's work thread; `deliver` is called from the
    evaluating thread.
    """

    def __init__(
        self,
        task: Task,
        network: nn.Module,
        *,
        deliver: Callable[[Evaluated], None],
        best: Path,
        watch: MetricWatch | None = None,
        form: ModelForm | None = None,
    ) -> None:
        """Use the task's held-out data, if it has any that fits what is shared.

        With private tensors, the coordinator has no whole network that it could evaluate.

        Args:
            task: has the held-out data and the metrics; its execution is told when to stop.
            network: changed by the evaluations.
            deliver: called with each result, in the evaluating thread.
            best: the file of the best version.
            watch: says which version is the best, and when the run should end.
            form: what the network's files hold beside the tensors of a run; looked up if None.

        Raises:
            TaskError: if the held-out data cannot be read.
        """
        self._best = best
        self.watch = watch or MetricWatch()
        self._task = task
        self.form = form or ModelForm.of(network)
        """Of the files that hold models."""
        shared = shared_tensors(network, task.shared)
        has_private_tensors = len(shared) < len(named_tensors(network))
        self._data: Any = None if has_private_tensors else read_data(task, task.test_data)
        # Without data the network would only take the memory of a whole model.
        self._network = network if self.has_data else nn.Module()
        self._deliver = deliver
        self._thread: threading.Thread | None = None
        self._submitted: int | None = None
        self._pending: deque[tuple[int, Mapping[str, Tensor]]] = deque()
        self._changed = threading.Condition()  # guards what is pending
        self._is_closed = threading.Event()
        task.execution = replace(task.execution, should_stop=self._is_closed.is_set)
        self.last: Evaluated | None = None
        """The newest result."""

    @property
    def has_data(self) -> bool:
        """Whether there is anything to evaluate on."""
        return self._data is not None

    @property
    def is_busy(self) -> bool:
        """Whether a result is still to come."""
        return self._submitted != (self.last.version if self.last else None)

    def submit(self, version: int, tensors: Mapping[str, Tensor]) -> list[int]:
        """Evaluate a version, unless that was done; the tensors are copied before this returns.

        Return the versions that will never be evaluated, because rounds are faster than this and
        there is no memory for all of them: the oldest of those that wait.
        """
        if not self.has_data or version == self._submitted:
            return []
        self._submitted = version
        copies = {name: tensor.clone() for name, tensor in tensors.items()}
        room = MOST_PENDING_BYTES - num_bytes(copies)
        skipped = []
        with self._changed:
            while self._pending and sum(num_bytes(each) for _, each in self._pending) > room:
                skipped.append(self._pending.popleft()[0])
            self._pending.append((version, copies))
            self._changed.notify()
        if self._thread is None:
            self._thread = threading.Thread(
                target=self._evaluate_all, name="evaluation", daemon=True
            )
            self._thread.start()
        return skipped

    def take(self, evaluated: Evaluated) -> None:
        """Take a result that came through `deliver`; the best version is kept.

        Raises:
            OSError: if the disk refuses; the same result can be taken again.
            InvalidInputError: if an option names a metric that is not measured.
        """
        if self.watch.is_best(evaluated.metrics):
            numbers = {name: str(value) for name, value in evaluated.metrics.items()}
            digest = parameters_sha256(self.form.whole(evaluated.tensors))
            metadata = {**numbers, "version": str(evaluated.version), DIGEST: digest}
            write_model(self._best, self.form, evaluated.tensors, metadata)
        self.watch.take(evaluated.version, evaluated.metrics)
        self.last = evaluated

    def close(self) -> None:
        """Abandon the running evaluation, and drop those that wait."""
        self._is_closed.set()
        with self._changed:
            self._pending.clear()
            self._changed.notify()
        if self._thread is not None:
            self._thread.join(STOP_SECONDS)

    def _evaluate_all(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._pending or self._is_closed.is_set())
                if not self._pending:
                    return
                version, tensors = self._pending.popleft()
            evaluated = self._evaluate(version, tensors)
            if self._is_closed.is_set():
                return
            self._deliver(evaluated)

    def _evaluate(self, version: int, tensors: Mapping[str, Tensor]) -> Evaluated:
        try:
            shared = shared_tensors(self._network, self._task.shared)
            replace_tensors(shared, without_caches(tensors, shared))
            metrics = metrics_of(self._task.evaluate(self._network, self._data))
        except TrainingAbandoned:
            return Evaluated(version, {}, tensors, failure="it was given up")
        except BaseException as error:  # noqa: BLE001 - told in words; no run hangs on it
            # Not the error itself: it would keep alive what filled the memory.
            failure = f"{type(error).__name__}: {error}"
            return Evaluated(version, {}, tensors, failure=failure)
        return Evaluated(version, metrics, tensors)

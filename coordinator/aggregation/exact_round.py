"""The step to the mean of everybody's latest local model, and the table of these models.

The step is u - w, where w is the model as it is: with the plain mean as server optimizer w becomes
u. (ACE and AREA write u - u_before, which is the same there; a server optimizer that moves by more
or less would then go where no mean is.)

A delta needs the version that it was trained on. So each version is kept with the first update
that comes while it is the current one, for as long as updates may be based on it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from fanfold.coordinator.aggregation import float64
from fanfold.coordinator.aggregation.latest_models import LatestModels, local_model
from fanfold.coordinator.aggregation.refusals import Reason, Refusal
from fanfold.coordinator.aggregation.round_aggregation import Accepted, Parts
from fanfold.coordinator.aggregation.running_sum import DELTA, RunningSum
from fanfold.coordinator.aggregation.tensor_checks import TensorChecks
from fanfold.coordinator.aggregation.tensor_store import TensorStore
from fanfold.schemas.errors import FanfoldError
from fanfold.schemas.messages import Update


@dataclass(frozen=True, slots=True)
class Entry:
    """One participant's place in the table."""

    key: str
    """Under which its model is kept."""
    num_examples: int
    version: int
    """The current version when it came."""


class LostModelError(FanfoldError):
    """Raised when a model in the table was damaged while the run went on.

    What it added to the mean cannot be taken away any more. A coordinator that starts again makes
    the mean anew of the others.
    """

    def __init__(self, participant: str, problem: str) -> None:
        super().__init__(
            f"the latest model of {participant} was damaged ({problem}); start the coordinator "
            "again: the run goes on without it, until that participant sends another"
        )


class ExactRound:
    """Keeps the table: one local model for each participant, in the store."""

    spec = "exact"
    takes_narrow = False
    checks = staticmethod(TensorChecks.of)

    def __init__(self, *, max_staleness: int, store: TensorStore) -> None:
        """Begin with an empty table.

        Args:
            max_staleness: who sends nothing for more versions drops out of the mean.
            store: for models and versions.
        """
        self.max_staleness = max_staleness
        self._store = store
        self.table: dict[str, Entry] = {}
        """By participant, in the order in which the models came."""
        self.latest = LatestModels()
        self._bases: dict[int, str] = {}
        """Versions that are kept, oldest first."""

    def problem(self, update: Update, *, version: int) -> Refusal | None:
        """Refuse an update whose base is lost: it cannot become a local model."""
        base_version = update.base_version
        if base_version == version or base_version in self._bases:
            return None
        return Refusal(Reason.UNKNOWN_BASE, f"version {base_version} is not kept any more")

    def fold(self, update: Accepted, running: RunningSum) -> float:
        """Let a local model take the place of the one before it."""
        self._keep_base(update.version, running)
        model = self._local_model(update, running)
        key = f"model.{update.message.participant}.{update.digest}"
        self._store.put(key, model)
        before = self.table.get(update.message.participant)
        if before is not None:
            self._remove(update.message.participant)
        self.latest.add(model, update.message.num_examples)
        self.table[update.message.participant] = Entry(
            key, update.message.num_examples, update.version
        )
        counts = {
            name: sent for name, sent in update.tensors.items() if not sent.is_floating_point()
        }
        running.fold(counts, num_examples=update.message.num_examples, weight=1.0)
        return 1.0

    def close(self, running: RunningSum, *, version: int) -> None:
        """Let the silent drop out, and leave u - w in the sum."""
        for participant, entry in list(self.table.items()):
            if version - entry.version > self.max_staleness:
                self._remove(participant)
        for name in self.latest.sums:
            step = self.latest.mean(name) - running.tensors[name].double()
            if name in running.holes:
                step.masked_fill_(running.holes[name], 0.0)
            running.sums[name], running.examples[name] = step, 1
        for base in [base for base in self._bases if version + 1 - base > self.max_staleness]:
            self._store.drop(self._bases.pop(base))

    def state(self) -> tuple[dict[str, Any], dict[str, dict[str, Tensor]]]:
        """Return the table without the models, and their sum."""
        document = {
            "table": {name: asdict(entry) for name, entry in self.table.items()},
            "bases": {str(version): key for version, key in self._bases.items()},
            "examples": self.latest.examples,
        }
        return document, {"latest": self.latest.sums}

    def restore(self, document: Mapping[str, Any], parts: Parts) -> list[str]:
        """Take the table back; models that are damaged do not count until others take their place.

        A version that is damaged is not kept any more: updates on it are refused.
        """
        self.table = {name: Entry(**entry) for name, entry in document.get("table", {}).items()}
        self._bases = {int(version): key for version, key in document.get("bases", {}).items()}
        self.latest = LatestModels()
        self.latest.examples = dict(document.get("examples", {}))
        self.latest.sums = {name: tensor.clone() for name, tensor in parts["latest"].items()}
        keys = [entry.key for entry in self.table.values()]
        self._store.keep_only([*keys, *self._bases.values()])
        for version, key in list(self._bases.items()):
            if self._store.damage(key) is not None:
                del self._bases[version]
        lost = [name for name, entry in self.table.items() if self._store.damage(entry.key)]
        if lost:
            self.forget(lost)
        return lost

    def forget(self, participants: Sequence[str]) -> None:
        """Take models out of the mean that cannot be read: the sum is made anew of the others."""
        for name in participants:
            self.table.pop(name, None)
        self.latest = LatestModels()
        for entry in self.table.values():
            stored = self._store.get(entry.key)
            model = {name: stored.load(name) for name in stored.names}
            self.latest.add(model, entry.num_examples)

    def drop_set(self) -> None:
        """Do nothing: nothing is masked."""

    def _keep_base(self, version: int, running: RunningSum) -> None:
        if self.max_staleness and version not in self._bases:
            key = f"version.{version}"
            parameters = {
                name: tensor
                for name, tensor in running.tensors.items()
                if running.kinds[name] == DELTA
            }
            self._store.put(key, parameters)
            self._bases[version] = key

    def _local_model(self, update: Accepted, running: RunningSum) -> dict[str, Tensor]:
        is_current = update.message.base_version == update.version
        stored = None if is_current else self._store.get(self._bases[update.message.base_version])
        model = {}
        for name, sent in update.tensors.items():
            if not sent.is_floating_point():
                continue
            base = None
            if running.kinds[name] == DELTA:
                base = running.tensors[name] if stored is None else stored.load(name)
            made = local_model(base, sent)
            if not float64.is_finite(made):  # where the model itself is not: that stays as it is
                made = torch.nan_to_num(made, nan=0.0, posinf=0.0, neginf=0.0)
            model[name] = made
        return model

    def _remove(self, participant: str) -> None:
        """Take a model out of the mean.

        Raises:
            LostModelError: if it is not what was added: nothing has changed then.
        """
        entry = self.table[participant]
        problem = self._store.damage(entry.key)
        if problem is not None:
            raise LostModelError(participant, problem)
        stored = self._store.get(entry.key)
        model = {name: stored.load(name) for name in stored.names}
        del self.table[participant]
        self.latest.remove(model, entry.num_examples)
        self._store.drop(entry.key, rounds=2)

"""How a run turns the updates of a round into one step: one small protocol, four ways.

- `FoldingRound`: each update goes into the running sum at once, as much as its rule says.
- `GatheringRound`: updates are kept whole until the close; then the rule makes one of them.
- `ExactRound` (`exact_round.py`): the step leads to the mean of everybody's latest local model.
- `FixedRound` (`fixed_round.py`): updates are integers, whose sum is the same in any order.

All four leave their step in the running sum, so that the server's optimizer sees no difference.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor

from fanfold.coordinator.aggregation.aggregator import ByCoordinate, ByDistance, Folding
from fanfold.coordinator.aggregation.clipping import FlTrust, Mean
from fanfold.coordinator.aggregation.gathering import Gathering
from fanfold.coordinator.aggregation.local_work import work_of
from fanfold.coordinator.aggregation.mixing import Mixing
from fanfold.coordinator.aggregation.refusals import Reason, Refusal, UpdateLimits
from fanfold.coordinator.aggregation.root_update import RootUpdate
from fanfold.coordinator.aggregation.running_sum import DELTA, RunningSum
from fanfold.coordinator.aggregation.tensor_checks import Checks, TensorChecks
from fanfold.coordinator.aggregation.tensor_store import TensorStore
from fanfold.schemas.errors import InvalidInputError
from fanfold.schemas.messages import Update

Parts = Mapping[str, Mapping[str, Tensor]]
"""The tensors of a checkpoint by part and name; see `state_parts`."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """An update that counts."""

    message: Update
    version: int
    """The current one."""
    weight: float
    """s(tau)."""
    digest: str
    """Of the whole message."""
    tensors: Mapping[str, Tensor]


class RoundAggregation(Protocol):
    """Belongs to one run, and is asked by one thread."""

    @property
    def spec(self) -> str:
        """What tells two whose states do not fit each other."""
        ...

    @property
    def takes_narrow(self) -> bool:
        """Whether deltas may come in the 16 bits that they travelled in, and not in the model's.

        The sum is the same to the last bit, and half as much is read.
        """
        ...

    def problem(self, update: Update, *, version: int) -> Refusal | None:
        """Say why an update cannot be folded, from its document alone; None means it can.

        Args:
            update: the document.
            version: the current one.
        """
        ...

    def checks(
        self, tensors: Mapping[str, Tensor], kinds: Mapping[str, str], limits: UpdateLimits
    ) -> Checks:
        """Return what updates on a version with these tensors are held against."""
        ...

    def fold(self, update: Accepted, running: RunningSum) -> float:
        """Take an update; return how much of it counts, as far as that is known.

        Raises:
            OSError: if it has to be kept, and the disk refuses: nothing has changed then.
        """
        ...

    def close(self, running: RunningSum, *, version: int) -> list[float] | None:
        """Leave the round's step in `running`.

        Args:
            running: of the round.
            version: the one that the round began with.

        Returns:
            How much of each update counts, in the order of folding; None where `fold` said it.
        """
        ...

    def forget(self, participants: Sequence[str]) -> None:
        """Take the latest models of these out of the mean: they are lost."""

    def drop_set(self) -> None:
        """Forget the masked updates of the open round."""

    def state(self) -> tuple[dict[str, Any], dict[str, dict[str, Tensor]]]:
        """Return what the checkpoint has to hold: a JSON document, and tensors by part and name."""
        ...

    def restore(self, document: Mapping[str, Any], parts: Parts) -> list[str]:
        """Take back what `state` returned.

        Returns:
            Whose latest models are lost.

        Raises:
            InvalidInputError: if what it needs of the disk is lost.
        """
        ...


class FoldingRound:
    """Folds at once: the mean, clipping, trust; normalised by local work where that is asked."""

    checks = staticmethod(TensorChecks.of)

    def __init__(
        self,
        rule: Folding,
        *,
        spec: str,
        momentum: float | None = None,
        root: RootUpdate | None = None,
    ) -> None:
        """Fold as `rule` says.

        Args:
            rule: how much each update counts.
            spec: its name.
            momentum: of the local SGD, if unequal work is to be normalised.
            root: trains trusted data, if the rule compares with that.
        """
        self.spec = spec
        self.takes_narrow = isinstance(rule, Mean)  # others are promised the model's dtypes
        self._root = root
        self._root_version = -1
        self._rule = rule
        self._momentum = momentum

    def problem(self, update: Update, *, version: int) -> Refusal | None:
        """Refuse an update without steps where they are needed."""
        del version
        if self._momentum is None or update.steps is not None:
            return None
        return Refusal(
            Reason.INCOMPATIBLE,
            "--normalize-steps takes updates that say how many local steps made them",
        )

    def fold(self, update: Accepted, running: RunningSum) -> float:
        """Add the update to the sum."""
        if isinstance(self._rule, FlTrust) and self._root and self._root_version != update.version:
            self._rule.root = self._root(update.version, running.tensors)
            self._root_version = update.version
        weight, factor = self._rule.weigh(running.deltas_of(update.tensors))
        examples = update.message.num_examples if self._rule.counts_examples else 1
        work = None
        if self._momentum is not None:
            work = work_of(update.message.steps or 1, self._momentum)
        running.fold(
            update.tensors,
            num_examples=examples if weight == 1 else examples * weight,
            weight=update.weight,
            factor=factor,
            work=work,
        )
        return weight * min(1.0, factor)

    def close(self, running: RunningSum, *, version: int) -> None:
        """Tell the rule that the round is over: the sum is its step already."""
        del running, version
        self._rule.close()

    def forget(self, participants: Sequence[str]) -> None:
        """Do nothing: no model is kept beyond its round."""

    def drop_set(self) -> None:
        """Do nothing: nothing is masked."""

    def state(self) -> tuple[dict[str, Any], dict[str, dict[str, Tensor]]]:
        """Return the rule's."""
        return {"rule": self._rule.state()}, {}

    def restore(self, document: Mapping[str, Any], parts: Parts) -> list[str]:
        """Give the rule its own back."""
        del parts
        self._rule.restore(document.get("rule", {}))
        return []


class GatheringRound:
    """Keeps whole updates until the close, and then makes one of them."""

    takes_narrow = False
    checks = staticmethod(TensorChecks.of)

    def __init__(
        self,
        rule: ByCoordinate | ByDistance,
        *,
        spec: str,
        mixing: Mixing,
        seed: int,
        store: TensorStore,
    ) -> None:
        """Keep updates in `store`; `mixing` comes before the rule, drawn with the run's `seed`."""
        self.spec = spec
        self._rule = rule
        self._mixing = mixing
        self._seed = seed
        self._store = store
        self._keys: list[str] = []
        self._weights: list[float] = []
        self._last_step: dict[str, Tensor] = {}

    def problem(self, update: Update, *, version: int) -> None:
        """Take every update."""

    def fold(self, update: Accepted, running: RunningSum) -> float:
        """Keep the update."""
        del running
        key = f"update.{update.version}.{update.digest}"
        self._store.put(key, update.tensors)
        self._keys.append(key)
        self._weights.append(update.weight)
        return 1.0

    def close(self, running: RunningSum, *, version: int) -> list[float]:
        """Fold what the rule makes of the updates, as if it were the only one."""
        gathering = Gathering(self._rule, running.tensors, running.kinds, mixing=self._mixing)
        combined = gathering.combine(
            [self._store.get(key) for key in self._keys],
            self._weights,
            holes=running.holes,
            last_step=self._last_step,
            seed=self._seed,
            version=version,
        )
        if isinstance(self._rule, ByDistance) and self._rule.uses_last_step:
            self._last_step |= {
                name: step.clone()
                for name, step in combined.tensors.items()
                if running.kinds[name] == DELTA
            }
        running.take(combined.tensors)
        for key in self._keys:
            self._store.drop(key)
        self._keys, self._weights = [], []
        return combined.shares

    def forget(self, participants: Sequence[str]) -> None:
        """Do nothing: no model is kept beyond its round."""

    def drop_set(self) -> None:
        """Do nothing: nothing is masked."""

    def state(self) -> tuple[dict[str, Any], dict[str, dict[str, Tensor]]]:
        """Return which updates are kept, what the rule remembers, and its last step."""
        document = {"rule": self._rule.state(), "keys": self._keys, "weights": self._weights}
        return document, {"step": self._last_step}

    def restore(self, document: Mapping[str, Any], parts: Parts) -> list[str]:
        """Take back what is kept of the open round.

        Raises:
            InvalidInputError: if an update of it is lost or damaged on the disk.
        """
        self._rule.restore(document.get("rule", {}))
        self._keys = list(document.get("keys", ()))
        self._weights = list(document.get("weights", ()))
        self._last_step = {name: tensor.clone() for name, tensor in parts["step"].items()}
        self._store.keep_only(self._keys)
        for problem in filter(None, map(self._store.damage, self._keys)):
            raise InvalidInputError(
                f"an update of the open round that was counted cannot be read: {problem}; restore "
                "the folder from a backup, or start anew with --fresh"
            )
        return []

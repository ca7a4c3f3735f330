"""One training from version 0 to its end, as plain state: no broker, no clock, no files.

The service, the simulator and the replay of a history all stand on this class, so that they agree
bit for bit.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from torch import Tensor

from fanfold.coordinator.aggregation.differential_privacy import DifferentialPrivacy
from fanfold.coordinator.aggregation.metric_means import finite
from fanfold.coordinator.aggregation.privacy_ledger import PrivacyLedger
from fanfold.coordinator.aggregation.refusals import Reason, Refusal, UpdateLimits
from fanfold.coordinator.aggregation.running_sum import RunningSum, holes_of
from fanfold.coordinator.aggregation.server_optimizer import OptimizerSpec, ServerOptimizer
from fanfold.coordinator.aggregation.staleness import Staleness
from fanfold.coordinator.aggregation.tensor_checks import TensorChecks, description
from fanfold.schemas.chunking import Labels
from fanfold.schemas.errors import FanfoldError, InvalidInputError
from fanfold.schemas.messages import Update
from fanfold.schemas.tensor_table import Kind

__all__ = ["Contribution", "Reason", "Refusal", "RunState", "UpdateLimits"]

PARTS = ("parameters", "masters", "optimizer", "sum", "begun")
"""Of the tensors in the state: which prefixes their names have."""
IN_ROUND = frozenset({"sum", "begun"})
"""Those that change while a round is open."""


@dataclass(frozen=True, slots=True)
class Contribution:
    """A folded update, as the history names it."""

    participant: str
    base_version: int
    staleness: int
    num_examples: int
    weight: float
    digest: str
    metrics: Mapping[str, float] = field(default_factory=dict)
    """What the participant measured on its own data, where that is finite."""


class DivergedError(FanfoldError):
    """Raised when a round's step would leave the model infinite or not a number.

    The tensors are as before, and nothing else of the run may be used any more.
    """

    def __init__(self, version: int, tensor: str) -> None:
        super().__init__(
            f"round {version + 1} would make {tensor!r} infinite or not a number, so it does not "
            f"count: the model is version {version}, the last good one. Start again with a lower "
            "rate of --server-optimizer or --lr, or bound updates with --max-update-norm"
        )
        self.version = version


class RunState:
    """The global tensors, the sum of the open round, and the memory of what was counted."""

    def __init__(
        self,
        *,
        run_id: str,
        tensors: Mapping[str, Tensor],
        kinds: Mapping[str, Kind],
        staleness: Staleness,
        optimizer: OptimizerSpec,
        limits: UpdateLimits,
        privacy: DifferentialPrivacy | None = None,
    ) -> None:
        """Begin at version 0.

        Args:
            run_id: tells this run's updates from those of others.
            tensors: the initial global tensors by name, on the CPU; changed in place by
                `close_round`.
            kinds: `delta` for floating parameters, `value` for everything else.
            staleness: the weight s(tau).
            optimizer: the server optimizer's class and arguments.
            limits: what is refused.
            privacy: the rules of a differentially private run.
        """
        self.run_id = run_id
        self.version = 0
        self.tensors = dict(tensors)
        self.kinds = dict(kinds)
        self.limits = limits
        self.privacy = privacy
        self.privacy_ledger = PrivacyLedger(
            on_arrival=privacy is not None and privacy.at == "participant"
        )
        """In a private run, how often something of each participant became known."""
        self.staleness = staleness
        self.optimizer = ServerOptimizer(optimizer, self.tensors, self.kinds)
        self._holes = holes_of(self.tensors)
        self.running = self._new_sum()
        self._checks: TensorChecks | None = None  # of the current version, made when first needed
        self.contributions: list[Contribution] = []
        self.digests: dict[int, str] = {}
        """The digest of each version's message, as far back as an update may be based on it."""
        self.last_counted: dict[str, tuple[int, str]] = {}
        """For each participant the base version and digest of the last update counted."""

    def is_too_stale(self, version: int) -> bool:
        """Whether an update based on this version would be refused for its age."""
        return self.version - version > self.limits.max_staleness

    def announced(self, digest: str) -> None:
        """Take note of the digest under which the current version was published."""
        self.digests[self.version] = digest
        while self.is_too_stale(oldest := next(iter(self.digests))):  # they stand in order
            del self.digests[oldest]

    def arrived(self, labels: Labels, digest: str) -> bool:
        """Take note of an update from the one it names, before anybody judges it.

        Returns:
            Whether there is something new to remember.
        """
        return labels.run == self.run_id and self.privacy_ledger.arrived(
            labels.participant or "", digest
        )

    def judge(self, update: Update, digest: str) -> Refusal | None:
        """Say why an update will not be counted, from its document alone; None means it may be."""
        refusal = self.judge_labels(Labels.of(update), digest)
        if refusal is not None:
            return refusal
        if self.digests.get(update.base_version) != update.base_digest:
            return Refusal(
                Reason.UNKNOWN_BASE,
                f"version {update.base_version} was published with another digest",
            )
        if self.privacy is not None and any(
            contribution.participant == update.participant for contribution in self.contributions
        ):
            return Refusal(Reason.DUPLICATE, "a private run counts one update of each in a round")
        return None

    def judge_labels(self, labels: Labels, digest: str) -> Refusal | None:
        """Say the same from an update's outside alone, before it costs room on the disk.

        Args:
            labels: with run, version, participant and examples.
            digest: of the whole message.
        """
        if labels.run != self.run_id:
            return Refusal(Reason.UNKNOWN_RUN, f"this is run {self.run_id}, not {labels.run}")
        base_version, num_examples = labels.version or 0, labels.examples or 0
        last = self.last_counted.get(labels.participant or "")
        if last is not None and base_version <= last[0]:
            same = last == (base_version, digest)
            return Refusal(
                Reason.DUPLICATE,
                "" if same else "another update on this version or a newer one counts",
            )
        staleness = self.version - base_version
        if staleness > self.limits.max_staleness:
            return Refusal(
                Reason.STALE,
                f"version {base_version} is {staleness} behind, "
                f"{self.limits.max_staleness} allowed",
            )
        if staleness < 0:
            return Refusal(Reason.UNKNOWN_BASE, f"there is no version {base_version} yet")
        if self.limits.max_examples is not None and num_examples > self.limits.max_examples:
            return Refusal(
                Reason.TOO_MANY_EXAMPLES, f"{num_examples}, {self.limits.max_examples} allowed"
            )
        return None

    def inspect(self, update: Mapping[str, Tensor], kinds: Mapping[str, str]) -> Refusal | None:
        """Say why an update's tensors cannot be folded; None means they can."""
        if self._checks is None:
            self._checks = TensorChecks.of(self.tensors, self.kinds, self.limits)
        if self.privacy is not None and (refusal := self.privacy.refusal(update, self.kinds)):
            return refusal
        return self._checks.inspect(update, kinds)

    def fold(self, update: Update, tensors: Mapping[str, Tensor], digest: str) -> Contribution:
        """Fold an update that `judge` and `inspect` let pass."""
        staleness = self.version - update.base_version
        private = self.privacy
        contribution = Contribution(
            participant=update.participant,
            base_version=update.base_version,
            staleness=staleness,
            num_examples=1 if private else update.num_examples,
            weight=1.0 if private else self.staleness(staleness),
            digest=digest,
            metrics={} if private else finite(update.metrics),
        )
        self.running.fold(
            tensors,
            num_examples=contribution.num_examples,
            weight=private.scale(tensors) if private else contribution.weight,
        )
        if private:
            self.privacy_ledger.folded(update.participant)
        self.contributions.append(contribution)
        self.last_counted[update.participant] = (update.base_version, digest)
        return contribution

    def close_round(self) -> list[Contribution]:
        """Turn version r-1 into version r and return what made it, in the order of folding.

        Raises:
            DivergedError: if version r would not be finite.
        """
        if self.privacy is not None:
            self.privacy.finish(self.running)
        broken = self.optimizer.apply(self.running)
        if broken is not None:
            raise DivergedError(self.version, broken)
        contributions, self.contributions = self.contributions, []
        self._holes = holes_of({name: self.tensors[name] for name in self._holes})
        self.running = self._new_sum()
        self._checks = None
        self.version += 1
        return contributions

    def go_on_with(self, *, staleness: Staleness, optimizer: OptimizerSpec) -> None:
        """Follow other rules from now on, as a coordinator that resumes with other settings does.

        Raises:
            InvalidInputError: if the server optimizer cannot go on with the state there is.
        """
        self.staleness = staleness
        state, masters = self.optimizer.state(), self.optimizer.masters
        self.optimizer = ServerOptimizer(optimizer, self.tensors, self.kinds, masters)
        self.optimizer.load_state(state)

    def state(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """Return everything as a JSON document and named tensors; the tensors are not copied."""
        document = {
            "run": self.run_id,
            "version": self.version,
            "kinds": self.kinds,
            "digests": {str(version): digest for version, digest in self.digests.items()},
            "last_counted": {name: list(last) for name, last in self.last_counted.items()},
            "contributions": [asdict(contribution) for contribution in self.contributions],
            "sum_examples": self.running.examples,
            "releases": self.privacy_ledger.state(),
        }
        tensors = {f"parameters/{name}": tensor for name, tensor in self.tensors.items()}
        tensors |= {f"optimizer/{path}": tensor for path, tensor in self.optimizer.state().items()}
        tensors |= {f"masters/{name}": each for name, each in self.optimizer.masters.items()}
        tensors |= {f"sum/{name}": tensor for name, tensor in self.running.sums.items()}
        tensors |= {f"begun/{name}": tensor for name, tensor in self.running.begun.items()}
        return document, tensors

    def restore(self, document: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        """Take back what `state` returned.

        Raises:
            InvalidInputError: if it does not fit this run's tensors or server optimizer.
        """
        parts: dict[str, dict[str, Tensor]] = {part: {} for part in PARTS}
        for path, tensor in tensors.items():
            part, _, name = path.partition("/")
            parts[part][name] = tensor
        if _signature(parts["parameters"]) != _signature(self.tensors):
            raise InvalidInputError(
                "the checkpoint's tensors are not those of this task's network; resume with the "
                "task the run began with, or start anew with --fresh"
            )
        for name, tensor in parts["parameters"].items():
            self.tensors[name].copy_(tensor)
        for name, master in self.optimizer.masters.items():  # older checkpoints have none
            master.copy_(parts["masters"].get(name, self.tensors[name]))
        self._holes, self._checks = holes_of(self.tensors), None
        self.optimizer.load_state(parts["optimizer"])
        self.run_id, self.version = document["run"], document["version"]
        self.digests = {int(version): digest for version, digest in document["digests"].items()}
        self.last_counted = {
            name: (last[0], last[1]) for name, last in document["last_counted"].items()
        }
        self.contributions = [Contribution(**entry) for entry in document["contributions"]]
        self.running = self._new_sum()
        self.running.examples = dict(document["sum_examples"])
        self.privacy_ledger.restore(document.get("releases", {}))
        self.running.sums = {name: tensor.clone() for name, tensor in parts["sum"].items()}
        self.running.begun = {name: tensor.clone() for name, tensor in parts["begun"].items()}

    def _new_sum(self) -> RunningSum:
        """Return the sum of a round; values count from the masters where there are any."""
        return RunningSum({**self.tensors, **self.optimizer.masters}, self.kinds, self._holes)


def _signature(tensors: Mapping[str, Tensor]) -> dict[str, str]:
    return {name: description(tensor) for name, tensor in tensors.items()}

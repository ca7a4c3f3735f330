"""One training from version 0 to its end, as plain state: no broker, no clock, no files.

The service, the simulator and the replay of a history all stand on this class, so that they agree
bit for bit.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from fanfold.coordinator.aggregation.aggregation_settings import MEAN, check_spec
from fanfold.coordinator.aggregation.contribution import Contribution, with_shares
from fanfold.coordinator.aggregation.differential_privacy import DifferentialPrivacy
from fanfold.coordinator.aggregation.global_model import GlobalModel
from fanfold.coordinator.aggregation.make_aggregation import make_aggregation
from fanfold.coordinator.aggregation.metric_means import finite
from fanfold.coordinator.aggregation.optimizer_spec import OptimizerSpec
from fanfold.coordinator.aggregation.origin import Origin
from fanfold.coordinator.aggregation.privacy_ledger import PrivacyLedger
from fanfold.coordinator.aggregation.refusals import DivergedError, Reason, Refusal, UpdateLimits
from fanfold.coordinator.aggregation.round_aggregation import Accepted, RoundAggregation
from fanfold.coordinator.aggregation.running_sum import RunningSum
from fanfold.coordinator.aggregation.staleness import Staleness
from fanfold.coordinator.aggregation.state_parts import joined, split
from fanfold.coordinator.aggregation.tensor_checks import Checks
from fanfold.schemas.chunking import Labels
from fanfold.schemas.messages import Update
from fanfold.schemas.tensor_table import Kind

__all__ = ["Contribution", "DivergedError", "Reason", "Refusal", "RunState", "UpdateLimits"]

IN_ROUND = frozenset({"sum", "begun", "latest", "fixed"})
"""Of the tensors in the state: those that change while a round is open."""


class RunState:
    """The model of the run, what may enter its next step, and the memory of what was counted."""

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
        aggregation: RoundAggregation | None = None,
    ) -> None:
        """Begin at version 0.

        Args:
            run_id: tells this run's updates from those of others.
            tensors: the initial global tensors by name, on the CPU; `close_round` changes them.
            kinds: `delta` for floating parameters, `value` for everything else.
            staleness: the weight s(tau).
            optimizer: the server optimizer's class and arguments.
            limits: what is refused.
            privacy: the rules of a differentially private run.
            aggregation: what a round makes of its updates; the mean by default.
        """
        self.run_id = run_id
        self.version = 0
        self.model = GlobalModel(tensors, kinds, optimizer)
        self.tensors, self.kinds = self.model.tensors, self.model.kinds
        self.origin = Origin.of(self.tensors, self.kinds)
        self.limits = limits
        self.privacy = privacy
        is_noisy = privacy is not None and privacy.at == "participant"
        self.privacy_ledger = PrivacyLedger(on_arrival=is_noisy)
        """In a private run, how often something of each participant became known."""
        self.staleness = staleness
        self.aggregation = aggregation or make_aggregation(MEAN)
        self._checks: Checks | None = None  # of what was announced last, made when needed
        self.contributions: list[Contribution] = []
        self.digests: dict[int, str] = {}
        """The digest of each version's message, as far back as an update may be based on it."""
        self.lost_models: list[str] = []
        """Whose latest models were found lost by `restore`, and do not count any more."""
        self.last_counted: dict[str, tuple[int, str]] = {}
        """For each participant the base version and digest of the last update counted."""

    @property
    def running(self) -> RunningSum:
        """The sum of the open round."""
        return self.model.running

    @property
    def takes_narrow(self) -> bool:
        """Whether `inspect` and `fold` take deltas in the 16 bits that they travelled in."""
        return self.privacy is None and self.aggregation.takes_narrow

    def leave_frozen(self, digest: str | None) -> None:
        """Take note of the digest of the parameters that everybody has from the task, if any."""
        self.origin = replace(self.origin, frozen=digest)

    def is_too_stale(self, version: int) -> bool:
        """Whether an update based on this version would be refused for its age."""
        return self.limits.too_stale(version, version=self.version) is not None

    def announced(self, digest: str) -> None:
        """Take note of the digest under which the current version was published."""
        self._checks = None
        self.digests[self.version] = digest
        while self.is_too_stale(oldest := next(iter(self.digests))):  # they stand in order
            del self.digests[oldest]

    def arrived(self, labels: Labels, digest: str) -> bool:
        """Take note of an update from the one it names, before anybody judges it.

        Returns:
            Whether there is something new to remember.
        """
        sender = labels.participant or ""
        return labels.run == self.run_id and self.privacy_ledger.arrived(sender, digest)

    def judge(self, update: Update, digest: str) -> Refusal | None:
        """Say why an update will not be counted, from its document alone; None means it may be."""
        return self.judge_labels(Labels.of(update), digest) or self.judge_document(update)

    def judge_document(self, update: Update) -> Refusal | None:
        """Say the same of an update whose labels were judged already, when its chunks came."""
        if self.digests.get(update.base_version) != update.base_digest:
            return Refusal(
                Reason.UNKNOWN_BASE,
                f"version {update.base_version} was published with another digest",
            )
        # its labels do not say how many examples if it was sealed
        problem = (
            self.limits.too_many_examples(update.num_examples, update.updates)
            or self.limits.too_many_updates(update.updates, is_private=self.privacy is not None)
            or self.aggregation.problem(update, version=self.version)
        )
        if problem is not None:
            return problem
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
        base_version = labels.version or 0
        last = self.last_counted.get(labels.participant or "")
        if last is not None and base_version <= last[0]:
            same = last == (base_version, digest)
            return Refusal(
                Reason.DUPLICATE,
                "" if same else "another update on this version or a newer one counts",
            )
        if base_version > self.version:
            return Refusal(Reason.UNKNOWN_BASE, f"there is no version {base_version} yet")
        limits = self.limits
        return limits.too_stale(base_version, version=self.version) or limits.too_many_examples(
            labels.examples or 0, limits.max_region_updates
        )

    def inspect(
        self,
        update: Mapping[str, Tensor],
        kinds: Mapping[str, str],
        *,
        updates: int | None = None,
        dtypes: Mapping[str, torch.dtype] | None = None,
    ) -> Refusal | None:
        """Say why the tensors of a sum of so many updates cannot be folded; None means they can.

        `dtypes` are those of the sender's tensors, where `update` has them in fewer bits.
        """
        if self._checks is None:
            self._checks = self.aggregation.checks(self.tensors, self.kinds, self.limits)
        if self.privacy is not None and (refusal := self.privacy.refusal(update, self.kinds)):
            return refusal
        return self._checks.inspect(update, kinds, updates=updates or 1, dtypes=dtypes)

    def fold(self, update: Update, tensors: Mapping[str, Tensor], digest: str) -> Contribution:
        """Fold an update that `judge` and `inspect` let pass.

        Raises:
            OSError: if it has to be kept whole, and the disk refuses; it can be folded again.
        """
        staleness = self.version - update.base_version
        private = self.privacy
        weight, share = 1.0 if private else self.staleness(staleness), 1.0
        if private:
            self.privacy_ledger.folded(update.participant)
        if private and private.at != "sum":
            self.running.fold(tensors, num_examples=1, weight=private.scale(tensors))
        else:
            accepted = Accepted(update, self.version, weight, digest, tensors)
            share = self.aggregation.fold(accepted, self.running)
        contribution = Contribution(
            participant=update.participant,
            base_version=update.base_version,
            staleness=staleness,
            num_examples=1 if private else update.num_examples,
            weight=weight,
            digest=digest,
            metrics={} if private else finite(update.metrics),
            share=share,
            updates=update.updates,
        )
        self.contributions.append(contribution)
        self.last_counted[update.participant] = (update.base_version, digest)
        return contribution

    def close_round(self) -> list[Contribution]:
        """Turn version r-1 into version r and return what made it, in the order of folding.

        Raises:
            DivergedError: if version r would not be finite.
        """
        shares = self.aggregation.close(self.running, version=self.version)
        if self.privacy is not None:
            self.privacy.finish(self.running)
        oldest = max((each.staleness for each in self.contributions), default=0)
        broken = self.model.step(largest_staleness=oldest)
        if broken is not None:
            raise DivergedError(self.version, broken)
        contributions, self.contributions = with_shares(self.contributions, shares), []
        self.version += 1
        return contributions

    def drop_round(self) -> None:
        """Forget the updates of the open round, which nobody can read."""
        self.aggregation.drop_set()
        self.contributions.clear()

    def go_on_with(self, *, staleness: Staleness, optimizer: OptimizerSpec) -> None:
        """Follow other rules from now on, as a coordinator that resumes with other settings does.

        Raises:
            InvalidInputError: if the server optimizer cannot go on with the state there is.
        """
        self.staleness = staleness
        self.model.go_on_with(optimizer)

    def state(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """Return everything as a JSON document and named tensors; the tensors are not copied."""
        kept, kept_tensors = self.aggregation.state()
        model, model_tensors = self.model.state()
        document = {
            **model,
            "aggregation": {"spec": self.aggregation.spec, **kept},
            "run": self.run_id,
            "version": self.version,
            "digests": {str(version): digest for version, digest in self.digests.items()},
            "last_counted": {name: list(last) for name, last in self.last_counted.items()},
            "contributions": [contribution.document() for contribution in self.contributions],
            "releases": self.privacy_ledger.state(),
            "origin": self.origin.state(),
        }
        return document, joined({**model_tensors, **kept_tensors})

    def restore(self, document: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        """Take back what `state` returned.

        Raises:
            InvalidInputError: if it does not fit this run's tensors, optimizer or aggregator.
        """
        kept = document.get("aggregation", {})
        check_spec(kept.get("spec"), self.aggregation.spec)
        parts = split(tensors)
        self.model.restore(document, parts)
        self.origin = self.origin.resumed(document.get("origin"))
        self._checks = None
        self.run_id, self.version = document["run"], document["version"]
        self.digests = {int(version): digest for version, digest in document["digests"].items()}
        self.last_counted = {
            name: (last[0], last[1]) for name, last in document["last_counted"].items()
        }
        self.contributions = [Contribution(**entry) for entry in document["contributions"]]
        self.privacy_ledger.restore(document.get("releases", {}))
        self.lost_models = self.aggregation.restore(kept, parts)

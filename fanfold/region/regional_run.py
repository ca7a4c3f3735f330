"""The run below: its versions come from above, and the sum of each of its rounds goes there.

It counts its versions itself, from the first that it was given. So it never goes back, whatever the
coordinator above does; while the region misses none, both count alike.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from fanfold.coordinator.aggregation.aggregation_settings import MEAN
from fanfold.coordinator.aggregation.contribution import Contribution
from fanfold.coordinator.aggregation.fixed_round import FixedRound
from fanfold.coordinator.aggregation.make_aggregation import make_aggregation
from fanfold.coordinator.aggregation.metric_means import weighted_means
from fanfold.coordinator.aggregation.optimizer_spec import parse_optimizer
from fanfold.coordinator.aggregation.refusals import Reason, Refusal, UpdateLimits
from fanfold.coordinator.aggregation.run_state import RunState
from fanfold.coordinator.aggregation.staleness import parse_staleness
from fanfold.coordinator.aggregation.tensor_checks import signature
from fanfold.region.sums import RegionalSum, VersionFromAbove, fixed_sum, mean_of
from fanfold.schemas.errors import InvalidInputError
from fanfold.schemas.messages import GlobalParameters, Update

DEEPEST = 64
"""The largest `level` that a message can name; below it all regions name this one."""


@dataclass(slots=True)
class Answered:
    """The version above that the open round answers.

    Attributes:
        message: what it says beside its tensors.
        digest: of the message.
    """

    message: GlobalParameters
    digest: str


class RegionalRun(RunState):
    """Sums updates of the version that it was given last; belongs to the coordinator's thread."""

    def __init__(
        self, given: VersionFromAbove, limits: UpdateLimits, *, keep: bool = False
    ) -> None:
        """Begin at version 0, which is the version given.

        Args:
            given: the first version.
            limits: what is refused.
            keep: whether versions go down as differences to the one before, however they came.

        Raises:
            InvalidInputError: if a region cannot take part in such a run.
        """
        fixed = given.message.fixed
        super().__init__(
            run_id=given.message.run,
            tensors={name: tensor.clone() for name, tensor in given.tensors.items()},
            kinds=given.kinds,
            staleness=parse_staleness("constant"),
            optimizer=parse_optimizer("sgd:lr=1"),
            limits=limits,
            aggregation=make_aggregation(MEAN) if fixed is None else FixedRound(fixed),
        )
        self._given = given
        self._keep = keep
        self._answered = Answered(given.message, given.digest)
        self.is_closed = False
        """Whether the set of updates of the open round is closed: its sum is on its way up."""
        self.next: VersionFromAbove | None = None
        """The version that follows the open round."""
        self.num_lost = 0
        """Updates of an open round that nobody waits for any more, found by `restore`."""

    @property
    def answers(self) -> str:
        """The digest of the version above that the open round answers."""
        return self._answered.digest

    def announcement(self) -> GlobalParameters:
        """Return what the current version says below, beside its tensors."""
        level = min((self._answered.message.level or 0) + 1, DEEPEST)
        own = {"version": self.version, "level": level, "keep": self._keep}
        return self._answered.message.model_copy(update=own)

    def judge_document(self, update: Update) -> Refusal | None:
        """Refuse what comes after the set is closed, too."""
        if self.is_closed:
            return Refusal(Reason.FULL, "its round is closed, and its sum on its way up")
        return super().judge_document(update)

    def total(self) -> RegionalSum:
        """Return the sum of the closed set, as it goes up; nothing changes."""
        rule = self.aggregation
        tensors, kinds = (
            fixed_sum(rule.sums) if isinstance(rule, FixedRound) else mean_of(self.running)
        )
        reported = ((each.num_examples, each.metrics) for each in self.contributions)
        return RegionalSum(
            tensors,
            kinds,
            num_examples=sum(each.num_examples for each in self.contributions),
            updates=sum(each.updates or 1 for each in self.contributions),
            metrics=weighted_means(reported),
        )

    def close_round(self) -> list[Contribution]:
        """Go on with the version that was given next; without one, the run is over."""
        contributions = list(self.contributions)
        if self.next is not None:
            self._adopt(self.next)
        return contributions

    def state(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """Return everything, with what the open round answers."""
        document, tensors = super().state()
        above = {
            "message": self._answered.message.model_dump(),
            "digest": self._answered.digest,
            "is_closed": self.is_closed,
            "kinds": self.kinds,
        }
        return {**document, "above": above}, tensors

    def restore(self, document: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        """Take back what `state` returned.

        If another version was given meanwhile, an open round has nobody any more who waits for it;
        a closed set was answered, or is as good as.
        """
        super().restore(document, tensors)
        above = document["above"]
        message = GlobalParameters.model_validate(above["message"])
        self._answered = Answered(message, above["digest"])
        self.is_closed = above["is_closed"]
        if self._given.is_own or self._given.digest == self._answered.digest:
            return
        if self.is_closed:
            self.next = self._given
            return
        self.num_lost = len(self.contributions)
        self._adopt(self._given)

    def _adopt(self, given: VersionFromAbove) -> None:
        if signature(given.tensors) != signature(self.tensors):
            raise InvalidInputError(
                f"the run {self.run_id} above has other tensors than before; begin anew with "
                "another --out"
            )
        self.model.become(given.tensors)
        self.drop_round()
        self._answered, self.next = Answered(given.message, given.digest), None
        self.is_closed = False
        self.version += 1

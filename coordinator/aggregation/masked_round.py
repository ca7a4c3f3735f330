"""A round whose updates are masked: their sum can be read once the keepers told that of the masks.

The set of updates is closed first, in the checkpoint, and nothing is added to it any more: keepers
answer for one set alone.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from fanfold.coordinator.aggregation.fixed_round import FixedRound
from fanfold.coordinator.aggregation.refusals import Reason, Refusal
from fanfold.coordinator.aggregation.round_aggregation import Accepted, Parts
from fanfold.coordinator.aggregation.running_sum import DELTA, RunningSum
from fanfold.schemas.fixed_point import EXAMPLES, words_of
from fanfold.schemas.keeper_messages import Member
from fanfold.schemas.messages import FixedPlan, MaskPlan, Update
from fanfold.sealing.identity import PublicIdentity
from fanfold.sealing.masks import Words


class MaskedRound(FixedRound):
    """Adds masked integers, one update of each participant, until its set is closed."""

    def __init__(
        self, plan: FixedPlan, keepers: Sequence[PublicIdentity], kinds: Mapping[str, str]
    ) -> None:
        """Begin with an empty sum.

        Args:
            plan: of the integers.
            keepers: who hold the seeds, in order.
            kinds: of the model's tensors, in their order.
        """
        super().__init__(plan)
        self.spec = f"masked {self.spec}"
        self.largest = None
        self.keepers = list(keepers)
        self.members: list[Member] = []
        """The open set, in the order of arrival."""
        self.is_closed = False
        self._order = [name for name, kind in kinds.items() if kind == DELTA] + [EXAMPLES]

    @property
    def masks(self) -> MaskPlan:
        """What participants are told."""
        return MaskPlan(keepers=[each.text() for each in self.keepers])

    @property
    def num_words(self) -> int:
        """The number of words of the sum."""
        return sum(each.numel() for each in self.sums.values())

    def problem(self, update: Update, *, version: int) -> Refusal | None:
        """Refuse what keepers would refuse, and a second update of the same participant."""
        if update.seeds is None or len(update.seeds.boxes) != len(self.keepers):
            return Refusal(Reason.INCOMPATIBLE, "its masks have no seeds for this run's keepers")
        if any(member.participant == update.participant for member in self.members):
            return Refusal(Reason.DUPLICATE, "a masked round counts one update of each")
        if self.is_closed:
            return Refusal(Reason.FULL, "its set of updates is closed")
        return super().problem(update, version=version)

    def fold(self, update: Accepted, running: RunningSum) -> float:
        """Add the update to the sum, and its seeds to the set."""
        message = update.message
        assert message.seeds is not None  # `problem` let it pass
        member = Member(
            participant=message.participant,
            base_version=message.base_version,
            seeds=message.seeds,
        )
        self.members.append(member)
        return super().fold(update, running)

    def close_set(self) -> None:
        """Let nothing in any more: from now on keepers may be asked."""
        self.is_closed = True

    def unmask(self, masks: Words) -> None:
        """Take the sum of all masks of the set from the sum.

        Args:
            masks: `num_words` words.
        """
        begin = 0
        for name in self._order:
            if name not in self.sums:
                continue
            words = words_of(self.sums[name])
            words -= masks[begin : begin + len(words)]
            begin += len(words)

    def drop_set(self) -> None:
        """Forget a set whose masks nobody tells: its round changes nothing."""
        super().drop_set()
        self.members, self.is_closed = [], False

    def close(self, running: RunningSum, *, version: int) -> None:
        """Leave the sum in `running`; the next set is open."""
        super().close(running, version=version)
        self.members, self.is_closed = [], False

    def state(self) -> tuple[dict[str, Any], dict[str, dict[str, Tensor]]]:
        """Return the masked sum, and the set that it is of."""
        document, parts = super().state()
        members = [member.model_dump() for member in self.members]
        return {**document, "members": members, "closed": self.is_closed}, parts

    def restore(self, document: Mapping[str, Any], parts: Parts) -> list[str]:
        """Take the sum and its set back."""
        self.members = [Member.model_validate(each) for each in document["members"]]
        self.is_closed = document["closed"]
        return super().restore(document, parts)

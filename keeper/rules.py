"""The rules that a keeper keeps, whatever a coordinator asks; no broker, no threads.

1. Every update is one of a member of the keeper's own roster, and signed by it, for this run.
2. A set has updates of at least K different participants, one of each.
3. An update belongs to one set alone. The same set again has the same answer.
4. All updates of a set have the same number of words, and each counts once: there are no weights.
5. Where there are three keepers, one more of them must have approved the set: or two of them might
   be told of two sets that differ by one update.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fanfold.keeper.journal import Journal, UpdateName
from fanfold.schemas.keeper_messages import (
    Masks,
    MasksRefused,
    MasksWanted,
    SetApproved,
)
from fanfold.sealing import mask_seeds
from fanfold.sealing.identity import Identity, PublicIdentity
from fanfold.sealing.mask_seeds import SeedsError
from fanfold.sealing.masks import Words, seeds_held, sum_of_masks

Members = Mapping[str, PublicIdentity]


@dataclass(frozen=True, slots=True)
class Rules:
    """What one keeper knows and asks for.

    Attributes:
        identity: its keys.
        keepers: all keepers of the federation, itself among them, in order of their text.
        at_least: K.
        max_words: the longest mask that it computes.
        members: returns the members of the roster as they are now.
    """

    identity: Identity
    keepers: Sequence[PublicIdentity]
    at_least: int
    max_words: int
    members: Callable[[], Members]

    @property
    def place(self) -> int:
        """Which of the keepers this one is."""
        return self.keepers.index(self.identity.public)

    def problem(self, wanted: MasksWanted, set_digest: str, journal: Journal) -> str | None:
        """Say in words why nothing is told of a set; None if it may be."""
        names = [member.participant for member in wanted.members]
        if wanted.words > self.max_words:
            return f"{wanted.words} words, and this keeper computes {self.max_words}"
        twice = next((name for name, times in Counter(names).items() if times > 1), None)
        if twice is not None:
            return f"{twice} is in the set twice"
        if len(names) < self.at_least:
            return (
                f"a set of {len(names)}, and this keeper answers for {self.at_least} participants "
                "or more; set the coordinator's --masks-at-least"
            )
        return self._forged(wanted) or _promised(wanted, set_digest, journal)

    def not_approved(self, wanted: MasksWanted, set_digest: str) -> str | None:
        """Say why the masks of a set are not told yet, however well it is made."""
        held = seeds_held(self.place, len(self.keepers))
        if not set(wanted.seeds) <= set(held) or len(set(wanted.seeds)) < len(wanted.seeds):
            return f"this keeper holds the seeds {held}, each once"
        if len(self.keepers) == 1:
            return None
        statement = mask_seeds.approval(wanted.run, set_digest)
        for approval in wanted.approvals:
            is_another = approval.keeper != self.place and approval.keeper < len(self.keepers)
            if is_another and self.keepers[approval.keeper].has_signed(
                statement, bytes.fromhex(approval.signature)
            ):
                return None
        return "no other keeper has approved this set"

    def _forged(self, wanted: MasksWanted) -> str | None:
        members = self.members()
        for member in wanted.members:
            owner = members.get(member.participant)
            if owner is None:
                return f"{member.participant} is not on this keeper's roster"
            if len(member.seeds.boxes) != len(self.keepers):
                return f"{member.participant} sealed its seeds for other keepers"
            if not mask_seeds.check_signature(member, owner, run=wanted.run, words=wanted.words):
                return (
                    f"{member.participant} has not signed these seeds for run {wanted.run}, "
                    f"version {member.base_version} and {wanted.words} words"
                )
        return None


def _promised(wanted: MasksWanted, set_digest: str, journal: Journal) -> str | None:
    for run, participant, version in updates_of(wanted):
        other = journal.set_of((run, participant, version))
        if other not in (None, set_digest):
            return (
                f"the update of {participant} on version {version} belongs to another set, which "
                "this keeper was asked for before"
            )
    return None


def updates_of(wanted: MasksWanted) -> list[UpdateName]:
    """Return the names of the updates of a set."""
    return [(wanted.run, each.participant, each.base_version) for each in wanted.members]


class Answering:
    """Answers requests by the rules, each promise in the journal before its answer."""

    def __init__(self, rules: Rules, journal: Journal) -> None:
        """Answer as `rules` say."""
        self._rules = rules
        self._journal = journal

    def answer(
        self, wanted: MasksWanted
    ) -> tuple[SetApproved | Masks | MasksRefused, Words | None]:
        """Return what the coordinator is told, and the sum of masks where it gets one."""
        rules, run = self._rules, wanted.run
        set_digest = mask_seeds.digest_of_set(wanted)
        reason = rules.problem(wanted, set_digest, self._journal)
        if reason is None and wanted.seeds:
            reason = rules.not_approved(wanted, set_digest)
        if reason is not None:
            return self._refused(wanted, set_digest, reason), None
        try:
            seeds = self._opened(wanted)
        except SeedsError as error:
            return self._refused(wanted, set_digest, str(error)), None
        told = self._told(wanted)
        updates = updates_of(wanted)
        if any(self._journal.set_of(each) is None for each in updates):
            self._journal.promise(set_digest, updates)
        if not wanted.seeds:
            signature = self._signed(mask_seeds.approval(run, set_digest))
            return SetApproved(**told, set_digest=set_digest, signature=signature), None
        words = sum_of_masks(seeds, wanted.words)
        digest = mask_seeds.digest_of(words)
        signature = self._signed(mask_seeds.answer(run, set_digest, wanted.seeds, digest))
        masks = Masks(
            **told,
            set_digest=set_digest,
            seeds=list(wanted.seeds),
            blake3=digest,
            signature=signature,
        )
        return masks, words

    def _told(self, wanted: MasksWanted) -> dict[str, Any]:
        return {"run": wanted.run, "version": wanted.version, "keeper": self._rules.place}

    def _refused(self, wanted: MasksWanted, set_digest: str, reason: str) -> MasksRefused:
        self._journal.refuse(set_digest, updates_of(wanted), reason)
        return MasksRefused(
            **self._told(wanted),
            set_digest=set_digest,
            reason=reason,
            signature=self._signed(mask_seeds.refusal(wanted.run, set_digest, reason)),
        )

    def _opened(self, wanted: MasksWanted) -> list[bytes]:
        """Return the seeds that are asked for, of all members.

        All that are held are opened, also for an approval: what cannot be opened later would make
        the set useless.
        """
        rules, place = self._rules, self._rules.place
        seeds = []
        for member in wanted.members:
            try:
                held = mask_seeds.open_seeds(
                    member,
                    rules.identity,
                    place,
                    len(rules.keepers),
                    run=wanted.run,
                    words=wanted.words,
                )
            except SeedsError as error:
                raise SeedsError(f"{member.participant}: {error}") from None
            seeds += [held[seed] for seed in wanted.seeds]
        return seeds

    def _signed(self, statement: bytes) -> str:
        return self._rules.identity.signing.sign(statement).hex()

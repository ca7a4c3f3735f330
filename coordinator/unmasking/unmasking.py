"""Learns the sum of the masks of a round from the keepers, and takes it from the sum of updates."""

import math
from collections import Counter
from dataclasses import dataclass

import numpy as np
import structlog

from fanfold.coordinator.aggregation.masked_round import MaskedRound
from fanfold.coordinator.aggregation.run_state import RunState
from fanfold.coordinator.broker.publisher import Publisher
from fanfold.coordinator.unmasking.keepers_asked import KeepersAsked
from fanfold.schemas.chunking import Assembly, ChunkHeader
from fanfold.schemas.errors import FanfoldError, MalformedMessageError
from fanfold.schemas.events.event import Say
from fanfold.schemas.events.keeper import WaitingForKeepers
from fanfold.schemas.fixed_point import words_of
from fanfold.schemas.keeper_messages import (
    Approval,
    Masks,
    MasksRefused,
    MasksWanted,
    SetApproved,
)
from fanfold.schemas.message_codec import Decoded
from fanfold.schemas.reader_limits import ReaderLimits
from fanfold.schemas.tensor_codec import decode_tensors
from fanfold.sealing import mask_seeds
from fanfold.sealing.masks import Words
from fanfold.transport import Delivery

AGAIN_SECONDS = 15.0
TELL_SECONDS = 5.0
"""So long after it was asked, a keeper that says nothing is told of."""
MOST_ANSWERS = 6
"""Unfinished answers that are kept in memory; whoever began the most loses one for the next."""
KINDS = (SetApproved.KIND, Masks.KIND, MasksRefused.KIND)

log = structlog.get_logger()


class KeepersRefusedError(FanfoldError):
    """Raised when keepers do not tell the masks of a round, and none is left who could."""


@dataclass(frozen=True, slots=True)
class OpenSet:
    """The set of updates whose masks are being learned.

    Attributes:
        wanted: what keepers are asked for, without seeds and approvals.
        digest: of the set.
        asked: whom, and what they said.
        masks: those told so far, summed, [words].
    """

    wanted: MasksWanted
    digest: str
    asked: KeepersAsked
    masks: Words


class Unmasking:
    """Asks, and adds up what is told. Belongs to the coordinator's work thread."""

    def __init__(self, run: RunState, rule: MaskedRound, *, publisher: Publisher, say: Say) -> None:
        """Ask nobody yet.

        Args:
            run: whose rounds are masked.
            rule: its masked round.
            publisher: sends requests.
            say: is told whom it waits for.
        """
        self._run = run
        self._rule = rule
        self._publisher = publisher
        self._say = say
        self._open: OpenSet | None = None
        self._assemblies: dict[tuple[str, str], Assembly] = {}
        """By the login of the sender, which the broker checks, and the digest of the message."""
        self._logins: dict[int, str] = {}
        """From which each keeper was heard: what comes from another one is no sign of life."""
        self._tell_at = math.inf

    @property
    def is_closed(self) -> bool:
        """Whether the set of the open round is closed, now or by an earlier coordinator."""
        return self._rule.is_closed

    @property
    def is_done(self) -> bool:
        """Whether the masks of all seeds are known."""
        return self._open is not None and self._open.asked.is_done

    def close_set(self) -> None:
        """Let no update into the set any more; to be committed before keepers are asked."""
        self._rule.close_set()

    def begin(self, now: float) -> None:
        """Ask for the masks of the set, as it is in the checkpoint."""
        rule = self._rule
        wanted = MasksWanted(
            run=self._run.run_id,
            version=self._run.version,
            words=rule.num_words,
            members=sorted(rule.members, key=lambda member: member.participant),
        )
        self._open = OpenSet(
            wanted,
            digest=mask_seeds.digest_of_set(wanted),
            asked=KeepersAsked(len(rule.keepers), AGAIN_SECONDS),
            masks=np.zeros(rule.num_words, np.uint32),
        )
        self._assemblies.clear()
        self._tell_at = now + TELL_SECONDS
        self._ask(self._open, now)

    @property
    def due_at(self) -> float:
        """When `tend` has something to do."""
        return math.inf if self._open is None else min(self._open.asked.due_at, self._tell_at)

    def tend(self, now: float) -> None:
        """Ask again who is silent, and say who it is.

        Raises:
            KeepersRefusedError: if too few are left who could tell.
        """
        if self._open is None:
            return
        asked = self._open.asked
        if asked.is_refused:
            self._give_up(asked)
        self._ask(self._open, now)
        if now >= self._tell_at:
            self._tell_at = math.inf
            keepers = self._rule.keepers
            silent = tuple(keepers[each].name for each in asked.silent)
            needed = asked.needed
            if len(keepers) - len(silent) < needed:
                self._say(WaitingForKeepers(self._run.version + 1, silent=silent, needed=needed))

    def take(self, delivery: Delivery, now: float) -> None:
        """Take a part of an answer.

        What is no answer to what was asked is dropped: anybody may write to that queue.
        """
        if self._open is None:
            return
        try:
            decoded = self._assembled(self._open, delivery, now)
            if decoded is not None:
                self._take_answer(self._open, decoded, delivery.user_id or "")
        except MalformedMessageError as error:
            log.warning("no answer of a keeper", reason=str(error), sender=delivery.user_id)

    def finish(self) -> None:
        """Take the masks from the sum, once all are known."""
        assert self._open is not None
        self._rule.unmask(self._open.masks)
        self._open = None
        self._assemblies.clear()

    def _ask(self, open_set: OpenSet, now: float) -> None:
        asked = open_set.asked
        for keeper, seeds in asked.questions(now):
            approvals = tuple(asked.approvals.values()) if seeds else ()
            request = open_set.wanted.model_copy(update={"seeds": seeds, "approvals": approvals})
            self._publisher.ask_keeper(self._rule.keepers[keeper].name, request)

    def _assembled(self, open_set: OpenSet, delivery: Delivery, now: float) -> Decoded | None:
        if delivery.kind not in KINDS:
            raise MalformedMessageError(f"{delivery.kind[:64]!r} is no answer of a keeper")
        limits = ReaderLimits(max_bytes=4 * self._rule.num_words + (64 << 10))
        header = ChunkHeader.parse(
            kind=delivery.kind,
            headers=delivery.headers,
            body_length=len(delivery.body),
            limits=limits,
        )
        if (header.labels.run, header.labels.version) != (self._run.run_id, self._run.version):
            return None
        login = delivery.user_id or ""
        name = (login, header.whole.digest)
        if name not in self._assemblies:
            while len(self._assemblies) >= MOST_ANSWERS:
                self._drop_one()
            self._assemblies[name] = Assembly(header, limits)
        is_whole = self._assemblies[name].add(header, delivery.body)
        for keeper in range(len(self._rule.keepers)):
            if self._logins.get(keeper, login) == login:
                open_set.asked.heard(keeper, now)
        if not is_whole:
            return None
        return self._assemblies.pop(name).decode()

    def _drop_one(self) -> None:
        """Forget the oldest unfinished answer of whoever began the most: a flood drops its own."""
        started = Counter(login for login, _ in self._assemblies)
        most = max(started, key=started.__getitem__)
        del self._assemblies[next(name for name in self._assemblies if name[0] == most)]

    def _take_answer(self, open_set: OpenSet, decoded: Decoded, login: str) -> None:
        answer, asked = decoded.message, open_set.asked
        assert isinstance(answer, SetApproved | Masks | MasksRefused)  # of these kinds
        run = self._run.run_id
        if answer.set_digest != open_set.digest or answer.keeper >= len(self._rule.keepers):
            return
        match answer:
            case SetApproved():
                self._check(answer, mask_seeds.approval(run, open_set.digest), login)
                asked.approved(Approval(keeper=answer.keeper, signature=answer.signature))
            case MasksRefused():
                self._check(answer, mask_seeds.refusal(run, open_set.digest, answer.reason), login)
                log.warning("a keeper refuses", keeper=answer.keeper, reason=answer.reason)
                asked.refused(answer.keeper, answer.reason)
            case Masks():
                self._take_masks(open_set, answer, decoded, login)

    def _take_masks(self, open_set: OpenSet, answer: Masks, decoded: Decoded, login: str) -> None:
        masks = open_set.masks
        tensors = decode_tensors(decoded)
        form = [(entry.name, entry.dtype, entry.shape) for entry in decoded.entries]
        if form != [("masks", "int32", (len(masks),))]:
            raise MalformedMessageError("masks of another form than was asked for")
        words = words_of(tensors["masks"].contiguous())
        digest = mask_seeds.digest_of(words)
        statement = mask_seeds.answer(self._run.run_id, open_set.digest, answer.seeds, digest)
        self._check(answer, statement, login)
        if open_set.asked.told(answer.keeper, tuple(answer.seeds)):
            np.add(masks, words, out=masks)

    def _check(
        self, answer: SetApproved | Masks | MasksRefused, statement: bytes, login: str
    ) -> None:
        keeper = self._rule.keepers[answer.keeper]
        if not keeper.has_signed(statement, bytes.fromhex(answer.signature)):
            raise MalformedMessageError(f"an answer that keeper {keeper.name} has not signed")
        self._logins[answer.keeper] = login

    def _give_up(self, asked: KeepersAsked) -> None:
        number = self._run.version + 1
        reasons = "; ".join(
            f"{self._rule.keepers[keeper].name}: {reason}"
            for keeper, reason in sorted(asked.refusals.items())
        )
        self._open = None
        raise KeepersRefusedError(
            f"the keepers do not tell the masks of round {number}, so its updates are lost and it "
            f"changes nothing ({reasons}); mend that and start again with the same --out"
        )

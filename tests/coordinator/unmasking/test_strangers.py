"""What strangers write to the queue of keepers' answers keeps no answer of a keeper away."""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from blake3 import blake3

from fanfold.coordinator.aggregation.masked_round import MaskedRound
from fanfold.coordinator.unmasking.unmasking import AGAIN_SECONDS, MOST_ANSWERS, Unmasking
from fanfold.schemas.chunking import Chunk, cut
from fanfold.schemas.keeper_messages import Masks, MasksRefused, MasksWanted, Member, SetApproved
from fanfold.schemas.message_codec import encode
from fanfold.schemas.messages import FixedPlan
from fanfold.schemas.tensor_codec import encode_tensors
from fanfold.sealing import mask_seeds
from fanfold.sealing.identity import Identity
from fanfold.sealing.mask_seeds import in_order, seal_seeds
from fanfold.sealing.masks import Words
from fanfold.transport import Delivery, Subscription

WORDS = 2000
RUN: Any = SimpleNamespace(run_id="r1", version=3)
ANSWERS = Subscription("masks", "me", 1)


class Asking:
    """A coordinator that closed a set of two updates, and keepers whose keys are known."""

    def __init__(self, num_keepers: int) -> None:
        made = [Identity.generate() for _ in range(num_keepers)]
        public = in_order(each.public for each in made)
        self.keepers = sorted(made, key=lambda each: public.index(each.public))
        rule = MaskedRound(FixedPlan(bits=16, clip=1.0, largest=1 << 20), public, {"w": "delta"})
        rule.sums = {"w": torch.zeros(WORDS, dtype=torch.int32)}
        for name in ("ann", "bob"):
            seeds, _ = seal_seeds(
                public,
                Identity.generate(),
                run="r1",
                participant=name,
                base_version=3,
                words=WORDS,
            )
            rule.members.append(Member(participant=name, base_version=3, seeds=seeds))
        self.asked: list[MasksWanted] = []
        publisher: Any = SimpleNamespace(ask_keeper=lambda _name, asked: self.asked.append(asked))
        self.unmasking = Unmasking(RUN, rule, publisher=publisher, say=lambda _event: None)
        self.unmasking.begin(0.0)

    def hear(self, chunk: Chunk, login: str, now: float = 0.0) -> None:
        delivery = Delivery(
            ANSWERS, 1, False, chunk.kind, "", login, chunk.headers, bytes(chunk.body)
        )
        self.unmasking.take(delivery, now)

    def said(self, keeper: int, statement: bytes) -> dict[str, Any]:
        """What is in every answer of a keeper."""
        return {
            "run": "r1",
            "version": 3,
            "keeper": keeper,
            "set_digest": mask_seeds.digest_of_set(self.asked[0]),
            "signature": self.keepers[keeper].signing.sign(statement).hex(),
        }

    def approve(self, keeper: int, login: str) -> None:
        digest = mask_seeds.digest_of_set(self.asked[0])
        said = self.said(keeper, mask_seeds.approval("r1", digest))
        (chunk,) = cut(encode(SetApproved(**said)))
        self.hear(chunk, login)

    def masks(self, words: Words) -> list[Chunk]:
        """The sum of one keeper, in chunks of 1 KiB."""
        set_digest = mask_seeds.digest_of_set(self.asked[0])
        digest = mask_seeds.digest_of(words)
        said = self.said(0, mask_seeds.answer("r1", set_digest, (0,), digest))
        answer = Masks(**said, seeds=[0], blake3=digest)
        return cut(
            encode_tensors(answer, {"masks": torch.from_numpy(words.view("i4"))}), chunk_bytes=1024
        )


def never_completed() -> Iterator[Chunk]:
    """First chunks of answers that never go on, each of another one."""
    said = {"run": "r1", "version": 3, "keeper": 0, "set_digest": "0" * 64, "signature": "0" * 128}
    for number in range(10**6):
        answer = Masks(**said, seeds=[0], blake3=blake3(str(number).encode()).hexdigest())
        zeros = {"masks": torch.zeros(WORDS, dtype=torch.int32)}
        yield cut(encode_tensors(answer, zeros), chunk_bytes=1024)[0]


def test_a_flood_of_unfinished_answers_drops_none_of_a_keeper() -> None:
    """Ten of another login come between any two chunks of the keeper's."""
    asking, flood = Asking(1), never_completed()
    chunks = asking.masks(np.arange(WORDS, dtype=np.uint32))
    assert len(chunks) > MOST_ANSWERS
    for chunk in chunks:
        for _ in range(10):
            asking.hear(next(flood), "mallory")
        asking.hear(chunk, "keeper")
    assert asking.unmasking.is_done


def test_another_login_is_no_sign_of_life_of_a_keeper() -> None:
    """Or a dead keeper would never be asked again, nor another one in its place."""
    asking, flood = Asking(3), never_completed()
    for keeper in range(2):
        asking.approve(keeper, f"keeper-{keeper}")
    asking.unmasking.tend(0.0)
    assert [bool(each.seeds) for each in asking.asked] == [False] * 3 + [True] * 2
    asking.hear(next(flood), "mallory", AGAIN_SECONDS - 1)
    asking.unmasking.tend(AGAIN_SECONDS)
    assert len(asking.asked) > 5


def test_what_no_keeper_signed_is_dropped_and_the_keeper_still_counts() -> None:
    """An approval, a refusal and a sum, each under the name of the keeper and of its set."""
    asking = Asking(1)
    said = {**asking.said(0, b"something else"), "keeper": 0}
    words = np.arange(WORDS, dtype=np.uint32)
    sums = {"masks": torch.from_numpy(words.view("i4"))}
    forged = (
        encode(SetApproved(**said)),
        encode(MasksRefused(**said, reason="no")),
        encode_tensors(Masks(**said, seeds=[0], blake3=mask_seeds.digest_of(words)), sums),
    )
    for message in forged:
        for chunk in cut(message):
            asking.hear(chunk, "mallory")
    asking.unmasking.tend(0.0)  # raises where a keeper refused
    assert not asking.unmasking.is_done
    for chunk in asking.masks(words):
        asking.hear(chunk, "keeper")
    assert asking.unmasking.is_done

"""What becomes of a delivery: acknowledged at once, or after the commit that holds it."""

import errno
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from fanfold.coordinator.admission.admission import admission_for
from fanfold.coordinator.admission.rate_limits import MAX_COPIES, SPARE_CHUNKS
from fanfold.coordinator.admission.sender_check import SenderCheck
from fanfold.coordinator.aggregation.optimizer_spec import parse_optimizer
from fanfold.coordinator.aggregation.run_state import RunState, UpdateLimits
from fanfold.coordinator.aggregation.staleness import parse_staleness
from fanfold.coordinator.observer import Unobserved
from fanfold.coordinator.persistence.run_store import RunStore
from fanfold.coordinator.rounds.closing_rule import OpenRound, RoundPolicy
from fanfold.coordinator.rounds.presence import Presence
from fanfold.schemas.chunking import Chunk, cut
from fanfold.schemas.messages import Message, Update, UpdateRefused
from fanfold.schemas.tensor_codec import encode_tensors, limits_for
from fanfold.transport import Delivery, Subscription

TENSORS = {"weight": torch.zeros(1000)}
RESULTS = Subscription("results", "coordinator", 100)


class Counter:
    """The admission of a coordinator that writes down what it acknowledges, on a clock of its own.

    It stands in for the channel, and for the publisher.
    """

    def __init__(self, folder: Path) -> None:
        limits = limits_for(TENSORS)
        self.run = RunState(
            run_id="r",
            tensors={name: tensor.clone() for name, tensor in TENSORS.items()},
            kinds={"weight": "delta"},
            staleness=parse_staleness("constant"),
            optimizer=parse_optimizer("sgd:lr=1"),
            limits=UpdateLimits(),
        )
        self.run.announced("0" * 64)
        self.store = RunStore(folder, limits)
        self.store.load(fresh=False, say=lambda _event: None)
        self.acknowledged: list[int] = []
        self.answers: list[Message] = []
        self.presence = Presence()
        self.known = frozenset({"ann"})
        broker: Any = self
        self.admission = admission_for(
            self.run,
            store=self.store,
            channel=broker,
            publisher=broker,
            queues=broker,
            presence=self.presence,
            limits=limits,
            sender_check=SenderCheck(),
            max_participants=10,
            say=lambda _event: None,
            observer=Unobserved(),
        )
        self.tally = self.admission.tally

    def take(self, chunk: Chunk, tag: int, *, now: float = 0.0) -> None:
        self.admission.take(delivery(chunk, tag), now)

    holds_results = False

    def is_masks(self, delivery: Delivery) -> bool:
        return False

    def is_result(self, delivery: Delivery) -> bool:
        return True

    def acknowledge(self, delivery: Delivery) -> None:
        self.acknowledged.append(delivery.tag)

    def announce(self, message: Message, *, to: str) -> None:
        self.answers.append(message)

    def commit(self) -> None:
        self.tally.committed()
        self.store.pending_acks.forget()


@pytest.fixture
def counter(tmp_path: Path) -> Iterator[Counter]:
    counter = Counter(tmp_path)
    yield counter
    counter.store.close()


def chunks(value: float, base_version: int = 0) -> list[Chunk]:
    message = Update(
        run="r",
        participant="ann",
        base_version=base_version,
        base_digest="0" * 64,
        num_examples=1,
    )
    values = {"weight": torch.full((1000,), value)}
    return cut(encode_tensors(message, values, kinds={"weight": "delta"}), chunk_bytes=1024)


def delivery(chunk: Chunk, tag: int) -> Delivery:
    return Delivery(
        subscription=RESULTS,
        tag=tag,
        redelivered=False,
        kind=chunk.kind,
        message_id="",
        user_id="ann",
        headers=chunk.headers,
        body=bytes(chunk.body),
    )


def test_what_is_folded_and_its_duplicates_wait_for_the_commit(counter: Counter) -> None:
    """And a duplicate of what is committed waits for nothing: it costs no checkpoint."""
    whole = chunks(1.0)
    for tag, chunk in enumerate(whole + whole):
        counter.take(chunk, tag)
    assert counter.tally.num_folded == 1
    assert (counter.acknowledged, len(counter.store.pending_acks)) == ([], 2 * len(whole))
    counter.commit()
    for tag, chunk in enumerate(whole):
        counter.take(chunk, tag)
    assert (counter.acknowledged, len(counter.store.pending_acks)) == ([*range(len(whole))], 0)


def test_parts_of_an_upload_are_no_news_for_a_checkpoint(counter: Counter) -> None:
    """They are in the spool, which is synced without one."""
    for tag, chunk in enumerate(chunks(1.0)[:-1]):
        counter.take(chunk, tag)
    assert counter.store.pending_acks
    assert not counter.tally.has_news
    due = counter.store.keep_spool()
    assert due.up_to is not None
    assert due.up_to.tag == len(chunks(1.0)) - 2
    assert not counter.store.pending_acks
    counter.take(chunks(1.0)[-1], 99)
    assert counter.tally.has_news


def test_a_full_disk_makes_no_flood_of_an_honest_chunk(
    counter: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is taken again and again until there is room, and counted once."""

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "no space")

    first, *others = chunks(1.0)
    with monkeypatch.context() as patched:
        patched.setattr(counter.store.spool, "add", full)
        for _ in range(MAX_COPIES * (1 + len(others)) + SPARE_CHUNKS + 1):
            with pytest.raises(OSError, match="no space"):
                counter.take(first, 1)
    for tag, chunk in enumerate([first, *others], start=1):
        counter.take(chunk, tag)
    assert counter.tally.num_folded == 1
    assert counter.tally.refused == {}


def test_the_same_refused_bytes_are_decoded_once(
    counter: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Values that are not finite, sent over and over."""
    looked = []
    inspect = counter.run.inspect
    monkeypatch.setattr(
        counter.run,
        "inspect",
        lambda *tensors, **sums: looked.append(1) or inspect(*tensors, **sums),
    )
    whole = chunks(float("nan"))
    for _ in range(3):
        for tag, chunk in enumerate(whole):
            counter.take(chunk, tag)
    assert looked == [1]
    assert counter.tally.refused == {"non-finite values": 3}
    (answer,) = counter.answers
    assert isinstance(answer, UpdateRefused)
    assert answer.reason == "non-finite values: in 'weight'"
    assert answer.fault == "content"


def test_an_answer_says_when_an_update_only_came_too_late(counter: Counter) -> None:
    """Then its sender may owe again what it carried; of what was counted no such thing is said."""
    for tag, chunk in enumerate(chunks(1.0)):
        counter.take(chunk, tag)
    counter.run.close_round()
    counter.run.last_counted.clear()
    counter.take(chunks(1.0)[0], 9)
    counter.run.last_counted["ann"] = (0, "1" * 64)
    counter.admission.open(OpenRound(RoundPolicy(goal=1), 2, frozenset(), 0.0), 1000.0)
    counter.take(chunks(2.0)[0], 10)
    faults = [answer.fault for answer in counter.answers if isinstance(answer, UpdateRefused)]
    assert faults == ["age", None]


def test_every_part_of_an_upload_is_a_sign_of_life_counted_or_not(counter: Counter) -> None:
    """Who sends a long update that is stale by now is no less there."""
    counter.presence.heard("ann", 0.0)
    counter.run.version = 7
    counter.take(chunks(1.0)[1], 1, now=1000.0)
    assert counter.tally.refused == {"too stale": 1}
    assert counter.presence.silent(1001.0, since=999.0) == set()

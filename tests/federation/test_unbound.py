"""Facts about exchanges and bindings that somebody takes away while a round is open."""

from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pika
import pytest
from pika.adapters.blocking_connection import BlockingChannel

from fanfold.coordinator.broker import recovery
from fanfold.coordinator.persistence.history import read_history
from tests.federation.tiny_tasks import GatedTiny


@pytest.fixture(autouse=True)
def looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recovery, "LOOK_SECONDS", 0.5)


@pytest.fixture
def channel(live: Any) -> Iterator[BlockingChannel]:
    with closing(pika.BlockingConnection(pika.URLParameters(live.url))) as connection:
        yield connection.channel()


def unbind(queue: str, exchange: str, key: str) -> Callable[[BlockingChannel, str], object]:
    return lambda channel, name: channel.queue_unbind(f"{name}.{queue}", f"{name}.{exchange}", key)


@pytest.mark.parametrize(
    "take_away",
    [
        unbind("results", "reports", "update"),
        lambda channel, name: channel.exchange_delete(f"{name}.reports"),
    ],
    ids=["the binding of the results", "the exchange of all reports"],
)
def test_what_updates_go_through_is_put_back(
    live: Any, channel: BlockingChannel, take_away: Callable[[BlockingChannel, str], object]
) -> None:
    """The broker tells the coordinator nothing; the participant tries again until it is there."""
    GatedTiny.gate.clear()
    coordinator = live.coordinator("GatedTiny", rounds=1, min_participants=2)
    first, second = (live.participant("GatedTiny", index, 2) for index in range(2))
    first.wait_for("update_sent")
    second.wait_for("version_received")
    take_away(channel, live.name)
    GatedTiny.gate.set()
    assert coordinator.result.result(90).is_finished
    (record,) = coordinator.all("round_closed")
    assert record["updates"] == 2


def test_a_participant_whose_queue_hears_no_version_is_found(
    live: Any, channel: BlockingChannel
) -> None:
    """It is alive and waits; the deadline closes the round without it, and the next one has it."""
    GatedTiny.gate.clear()
    coordinator = live.coordinator(
        "GatedTiny", rounds=1000, min_participants=2, deadline_seconds=2.0
    )
    live.participant("GatedTiny", 0, 2)
    unbound = live.participant("GatedTiny", 1, 2)
    unbound.wait_for("version_received")
    unbind("participant.p1", "parameters", "")(channel, live.name)
    GatedTiny.gate.set()
    unbound.wait_for("version_received", times=2)
    unbound.wait_for("update_sent", times=2)
    coordinator.stop("seen enough")
    coordinator.result.result(60)
    records = read_history(live.out / "history.jsonl")
    counts = [len(record["updates"]) for record in records if record["event"] == "round"]
    assert 1 in counts

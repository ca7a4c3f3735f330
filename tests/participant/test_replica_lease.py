"""Replicas that share a number of slots, on a real broker."""

import json
import queue
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from nodes import BrokerNode
from pydantic import ValidationError

from fanfold.participant.replica_lease import ReplicaLease
from fanfold.participant.settings import ParticipantSettings
from fanfold.schemas.errors import RESOURCE_LOCKED, RefusedByBrokerError
from fanfold.schemas.events.event import Event
from fanfold.schemas.names import FederationNames
from fanfold.transport import Connection


def settings_for(url: str, federation: str, **more: Any) -> ParticipantSettings:
    return ParticipantSettings(broker=(url,), federation=federation, slots=2, **more)


def quiet(_event: Event) -> None:
    """Nobody listens."""


def test_replicas_take_different_slots_and_their_shares(broker_url: str, federation: str) -> None:
    """A slot is an id, a share of the data and a folder for its state."""
    settings = settings_for(broker_url, federation, state_dir=Path("state"))
    with ReplicaLease(settings, tls=None) as one, ReplicaLease(settings, tls=None) as other:
        first, second = one.claim(quiet), other.claim(quiet)

    assert first is not None
    assert second is not None
    assert (first.id, first.partition_index, first.num_partitions) == ("slot-0", 0, 2)
    assert (second.id, second.partition_index, second.num_partitions) == ("slot-1", 1, 2)
    assert second.state_dir == Path("state/slot-1")


def test_slots_divide_the_share_that_they_have(broker_url: str, federation: str) -> None:
    """So replicas of two regions train on different data."""
    settings = settings_for(broker_url, federation, partition_index=1, num_partitions=3)
    with ReplicaLease(settings, tls=None) as one:
        claimed = one.claim(quiet)
    assert claimed is not None
    assert (claimed.partition_index, claimed.num_partitions) == (2, 6)


def test_a_spare_replica_waits_and_takes_over(broker_url: str, federation: str) -> None:
    """It says that it waits, and takes the slot of whoever leaves."""
    settings = settings_for(broker_url, federation)
    said: queue.Queue[str] = queue.Queue()
    found: list[ParticipantSettings | None] = []
    with ReplicaLease(settings, tls=None) as one, ReplicaLease(settings, tls=None) as spare:
        one.claim(quiet)
        with ReplicaLease(settings, tls=None) as other:
            other.claim(quiet)
            waiting = threading.Thread(
                target=lambda: found.append(spare.claim(lambda event: said.put(event.name)))
            )
            waiting.start()
            assert said.get(timeout=30) == "waiting_for_slot"
        waiting.join(timeout=30)

    assert said.get(timeout=1) == "slot_claimed"
    assert [claimed and claimed.id for claimed in found] == ["slot-1"]


def test_a_replica_that_waits_can_be_stopped(broker_url: str, federation: str) -> None:
    """SIGTERM reaches who has no slot yet."""
    settings = settings_for(broker_url, federation)
    with (
        ReplicaLease(settings, tls=None) as one,
        ReplicaLease(settings, tls=None) as two,
        ReplicaLease(settings, tls=None) as spare,
    ):
        one.claim(quiet)
        two.claim(quiet)

        assert spare.claim(lambda *_: spare.stop("SIGTERM")) is None


def test_a_stop_between_claim_and_start_is_not_lost(broker_url: str, federation: str) -> None:
    """Whoever starts after the claim hears what was said before."""
    with ReplicaLease(settings_for(broker_url, federation), tls=None) as lease:
        lease.claim(quiet)
        lease.stop("SIGTERM")
        heard: list[str] = []
        lease.pass_on(heard.append)

    assert heard == ["SIGTERM"]


def is_taken(connection: Connection, slot_queue: str) -> bool:
    try:
        connection.declare_queue(slot_queue, arguments={"x-queue-type": "classic"}, exclusive=True)
    except RefusedByBrokerError as refusal:
        return refusal.code == RESOURCE_LOCKED
    return False


def cut_off(node: BrokerNode) -> None:
    """Close the holder's connection from the broker's side, once the broker lists it."""
    wanted = "claims a slot"
    while True:
        listed = json.loads(node.api("GET", "/api/connections"))
        named = [c["name"] for c in listed if wanted in c["client_properties"]["connection_name"]]
        if named:
            break
        time.sleep(0.1)
    for name in named:
        node.api("DELETE", f"/api/connections/{quote(name)}")


@pytest.mark.slow
def test_a_slot_is_held_again_after_a_lost_connection(
    broker_node: BrokerNode, federation: str
) -> None:
    """The queue goes with the connection; the holder makes it anew, and nobody is told."""
    slot_queue = FederationNames(federation).slot_queue(0)
    told: list[str] = []
    settings = settings_for(broker_node.url, federation)
    with (
        ReplicaLease(settings, tls=None) as lease,
        Connection([broker_node.url], name="looks on") as connection,
    ):
        lease.claim(quiet)
        lease.pass_on(told.append)
        connection.wait_connected(10)
        reconnector = lease._connection._session._reconnector
        before = reconnector._connection
        cut_off(broker_node)
        while reconnector._connection in (before, None):
            time.sleep(0.02)
        while not is_taken(connection, slot_queue):
            connection.delete_queue(slot_queue)  # we were faster
            time.sleep(0.1)

        assert told == []
        assert not lease.is_lost


@pytest.fixture
def lost(broker_node: BrokerNode, federation: str) -> Iterator[ReplicaLease]:
    """A holder that claimed a slot, lost its connection, and finds that another one was faster."""
    slot_queue = FederationNames(federation).slot_queue(0)
    settings = settings_for(broker_node.url, federation, heartbeat_seconds=1)
    with (
        ReplicaLease(settings, tls=None) as lease,
        Connection([broker_node.url], name="snatches") as connection,
    ):
        lease.claim(quiet)
        connection.wait_connected(10)
        cutting = threading.Thread(target=cut_off, args=(broker_node,))
        cutting.start()
        while is_taken(connection, slot_queue):
            pass  # before the holder is back
        cutting.join()
        yield lease


@pytest.mark.slow
def test_who_loses_its_slot_to_another_is_told_to_leave(lost: ReplicaLease) -> None:
    """Two participants under one id would keep each other out; the container starts anew."""
    told: queue.Queue[str] = queue.Queue()
    lost.pass_on(told.put)
    assert told.get(timeout=30) == "another replica has slot 0"
    assert lost.is_lost


@pytest.mark.slow
def test_a_slot_that_was_lost_before_it_is_handed_on_is_not_used(lost: ReplicaLease) -> None:
    """Loading the data may take minutes: who takes part only then is told then."""
    while not lost.is_lost:
        time.sleep(0.02)
    told: list[str] = []
    lost.pass_on(told.append)
    assert told == ["another replica has slot 0"]


def test_slots_stand_instead_of_an_id() -> None:
    """Both together would contradict each other."""
    with pytest.raises(ValidationError, match="--slots replaces --id; leave"):
        ParticipantSettings(id="ada", slots=2)
    with pytest.raises(ValidationError, match="Field required"):
        ParticipantSettings()

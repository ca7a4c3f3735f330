"""Facts about an open round that waits: who is reminded, who is seen to, what is declared again."""

import threading
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest

from fanfold.coordinator.broker.encoded_version import EncodedVersion
from fanfold.coordinator.broker.publisher import Publisher
from fanfold.coordinator.broker.sending import Sent
from fanfold.coordinator.rounds.sent_versions import SentVersions
from fanfold.schemas.messages import GlobalParameters, Progress, TrainingPlan
from fanfold.schemas.names import OUTCOME_KEY, UPTIME_KEY
from fanfold.schemas.tensor_codec import encode_tensors
from fanfold.transport import Blocked, Outgoing, Unblocked
from tests.coordinator.fake_broker import GLOBAL, FakeBroker

DEADLINE = 600.0


@pytest.fixture
def broker(tmp_path: Path) -> FakeBroker:
    return FakeBroker(tmp_path)


def progress(broker: FakeBroker, participant: str, phase: str, version: int) -> None:
    fields = {"participant": participant, "instance": "i", "run": broker.run_id, "phase": phase}
    broker.tell(Progress.model_validate(fields | {"version": version}))


def test_nobody_is_reminded_where_the_quorum_is_there(broker: FakeBroker) -> None:
    """The deadline closes the round; the whole model to everybody silent would be for nothing."""
    resent: list[str] = []
    broker.hello("ann", "bob", "cid")
    broker.on_version = lambda version: broker.update("ann", version)
    broker.on_resent = lambda participant, _version: resent.append(participant)
    coordinator = broker.coordinator(rounds=1, min_participants=3)
    joined = len(resent)
    assert coordinator.run().is_finished
    assert resent[joined:] == []
    assert broker.all("waiting")[1:] == []


def test_each_version_is_sent_once_whoever_comes_back(broker: FakeBroker) -> None:
    """Ten rounds are ten versions: who answered one has it, and who trains on one holds it."""
    sent: list[str] = []
    broker.hello("ann", "bob", "cid")

    def begin(version: int) -> None:
        sent.append(f"{version} to all")
        broker.update("ann", version)
        broker.hello("ann", instance=f"after-{version}")  # in the same instant: not its turn yet
        progress(broker, "bob", "training", version)
        broker.hello("bob", consuming=True)
        broker.clock.now += 100
        broker.hello("ann", instance=f"later-than-{version}")
        broker.update("bob", version)
        broker.update("cid", version)

    broker.on_version = begin
    broker.on_resent = lambda participant, version: sent.append(f"{version} to {participant}")
    assert broker.run(rounds=10, min_participants=3, deadline_seconds=1000).is_finished
    assert sent == [f"{version} to all" for version in range(10)]
    assert [each["updates"] for each in broker.all("round_closed")] == [3] * 10


def test_who_was_refused_and_comes_back_is_sent_the_version_again(broker: FakeBroker) -> None:
    """Its queue is empty, and nothing of it counts."""
    resent: list[str] = []
    broker.hello("ann", "bob")

    def begin(version: int) -> None:
        broker.update("ann", version, value=float("nan"))
        broker.clock.now += 100
        broker.hello("ann", instance="mended")
        broker.update("bob", version)

    def answer(participant: str, version: int) -> None:
        resent.append(participant)
        broker.update(participant, version)

    broker.on_version, broker.on_resent = begin, answer
    assert broker.run(rounds=1, min_participants=2, quorum=2, deadline_seconds=1000).is_finished
    assert resent == ["ann"]


def test_reminders_go_to_members_who_do_not_say_that_they_work_on_it(broker: FakeBroker) -> None:
    """Who trains it holds it, who left is nobody to remind, and who answered owes nothing."""
    resent: list[str] = []
    broker.hello("ann", "bob", "cid", "dan")

    def begin(version: int) -> None:
        broker.update("ann", version)
        broker.said.append(("dan_leaves", {}))
        coordinator._state.presence.left("dan", "i")

    def speak(what: str) -> None:
        if what == "declare_exchange f.parameters" and broker.run_id:
            progress(broker, "bob", "training", 0)
            progress(broker, "cid", "waiting", 0)

    def answer(participant: str, _version: int) -> None:
        resent.append(participant)
        if len(resent) == 2:
            broker.update("bob", 0)

    broker.on_version, broker.on_resent, broker.administering.on_ask = begin, answer, speak
    coordinator = broker.coordinator(rounds=1, min_participants=4, quorum=2)
    assert coordinator.run().is_finished
    assert resent == ["cid", "cid"]


def test_one_version_at_a_time_is_on_its_way_to_each(broker: FakeBroker) -> None:
    """However many deadlines pass while a broker takes nothing and does not say so."""
    free = threading.Event()
    begun: list[str] = []
    broker.hello("ann", "bob", "cid")

    def publish(messages: list[Outgoing]) -> None:
        if messages[0].exchange == "f.resend" and messages[0].routing_key not in (
            OUTCOME_KEY,
            UPTIME_KEY,
        ):
            assert free.wait(20)
            begun.extend((messages[0].routing_key, *messages[0].others))
        broker._published(messages)

    def hear(event: str) -> None:
        if event == "waiting" and len(broker.all("waiting")) == 8:
            free.set()

    broker.publishing.published, broker.on_said = publish, hear
    broker.on_resent = broker.update
    assert broker.run(rounds=1, min_participants=3, quorum=3, deadline_seconds=10).is_finished
    assert sorted(begun) == ["ann", "bob", "cid"]


def test_nobody_is_reminded_and_nobody_is_late_while_the_broker_takes_nothing(
    broker: FakeBroker,
) -> None:
    """Neither can participants send anything: ten minutes of that are nobody's silence."""
    broker.hello("ann", "bob")
    looks: list[float] = []

    def begin(_version: int) -> None:
        broker.event_buffer.put_event(Blocked(broker.publishing.id, "low on memory"))

    def look(what: str) -> None:
        if what == "declare_exchange f.parameters" and broker.run_id:
            looks.append(broker.clock.now)
            if len(looks) == 10:
                broker.event_buffer.put_event(Unblocked(broker.publishing.id))
                broker.update("ann", 0)

    broker.on_version, broker.administering.on_ask = begin, look
    coordinator = broker.coordinator(rounds=1, min_participants=2, deadline_seconds=100)
    resent: list[str] = []
    broker.on_resent = lambda participant, _version: resent.append(participant)
    assert coordinator.run().is_finished
    assert looks[9] - 1000 >= 540
    assert broker.clock.now >= looks[9] + 90
    assert resent == []
    assert broker.all("waiting")[1:] == []


def test_the_long_dead_are_forgotten(broker: FakeBroker) -> None:
    """Their queues are not asked for at every reconnect, and nothing is sent there."""
    broker.hello("ann", "bob")
    broker.on_version = lambda version: broker.update("ann", version)
    coordinator = broker.coordinator(rounds=2, min_participants=2)
    assert coordinator.run().is_finished
    assert [each["participant"] for each in broker.all("participant_silent")] == ["bob"]
    assert coordinator._recovery._channel.participants.known == {"ann"}


def test_what_has_not_begun_to_go_out_is_taken_back_when_the_round_may_close(
    broker: FakeBroker,
) -> None:
    """The next version follows."""
    coordinator = broker.coordinator(rounds=1)
    free, begun = threading.Event(), threading.Event()
    sent: list[str] = []

    def publish(messages: list[Outgoing]) -> None:
        begun.set()
        assert free.wait(20)
        sent.append(messages[0].routing_key)

    broker.publishing.published = publish
    ends: SimpleQueue[Sent] = SimpleQueue()
    store: Any = None
    versions = SentVersions()
    publisher = Publisher(
        channel=coordinator._recovery._channel, store=store, deliver=ends.put, versions=versions
    )
    publisher._encoded_version = EncodedVersion(
        encode_tensors(
            GlobalParameters(run="r", version=0, rounds=1, plan=TrainingPlan(), encoding="float32"),
            GLOBAL,
            kinds=dict.fromkeys(GLOBAL, "delta"),
        ),
        epoch=1,
        chunk_bytes=1 << 20,
    )
    publisher.send_again(["ann"])
    publisher.send_again(["bob", "cid"])
    assert begun.wait(20)
    publisher.take_back()
    assert not publisher.is_idle
    free.set()
    publisher.sent(ends.get(timeout=20))
    assert publisher.is_idle
    assert sent == ["ann"]
    assert publisher.bytes_down == publisher._encoded_version.num_bytes
    everybody = {"ann", "bob", "cid"}
    assert versions.receivers(everybody, everybody) == {"bob", "cid"}


def test_a_binding_that_is_gone_is_made_again(broker: FakeBroker) -> None:
    """Updates and hellos reach nobody, and the broker says nothing: a minute later they do."""
    broker.hello("ann")
    is_bound = False

    def bind(what: str) -> None:
        nonlocal is_bound
        if what == "bind_queue f.results" and broker.run_id and not is_bound:
            is_bound = True
            broker.update("ann", 0)  # its sender tries again and again

    broker.administering.on_ask = bind
    assert broker.run(rounds=1).is_finished
    assert broker.clock.now < 1000 + DEADLINE


def test_who_hears_no_version_is_bound_again_though_rounds_close_without_it(
    broker: FakeBroker,
) -> None:
    """No deadline passes, and its queue is there: only that it waits with an old version tells."""
    broker.hello("ann", "bob")
    bound: list[int] = []

    def bind(what: str) -> None:
        if what == "bind_queue f.participant.bob" and broker.run_id:
            bound.append(max(broker.base_digests))

    def publish(version: int) -> None:
        for name, held in (("ann", version), ("bob", 0)):
            progress = Progress(
                participant=name, instance="i", run=broker.run_id, version=held, phase="waiting"
            )
            broker.tell(progress)
        broker.clock.now += 20
        broker.update("ann", version)

    broker.administering.on_ask, broker.on_version = bind, publish
    assert broker.run(rounds=12, min_participants=2, goal=1).is_finished
    assert bound
    assert min(bound) >= 3  # twenty seconds each


def test_before_the_first_round_too(broker: FakeBroker) -> None:
    """There is no deadline then: nobody would ever be heard."""
    asked = 0

    def bind(what: str) -> None:
        nonlocal asked
        asked += what == "bind_queue f.events"
        if what == "bind_queue f.events" and asked == 2:
            broker.hello("ann")

    broker.administering.on_ask = bind
    broker.on_version = lambda version: broker.update("ann", version)
    assert broker.run(rounds=1).is_finished
    assert asked >= 2


def test_a_member_that_waits_and_hears_nothing_is_bound_again_at_the_deadline(
    broker: FakeBroker,
) -> None:
    """Its queue was unbound from the versions' exchange: it is alive, and gets no version."""
    broker.hello("ann", "bob")
    bound = 0

    def bind(what: str) -> None:
        nonlocal bound
        bound += what == "bind_queue f.participant.bob"

    def answer(version: int) -> None:
        broker.update("ann", version)
        if version == 0 or bound > 2:
            broker.update("bob", version)
        else:
            progress(broker, "bob", "waiting", 0)

    broker.on_version, broker.administering.on_ask = answer, bind
    assert broker.run(rounds=3, min_participants=2).is_finished
    assert [each["updates"] for each in broker.all("round_closed")] == [2, 1, 2]
    assert broker.all("participant_silent") == []

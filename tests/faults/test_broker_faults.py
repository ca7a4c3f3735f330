"""What the broker and its operators do to a federation, and that it comes to nothing."""

import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import quote, urlsplit

import pytest
from faulty_run import Run
from nodes import BrokerNode
from padded_task import VARIABLE
from services import ForkServer, Service, Services, until

# Processes that wait for deadlines, alarms and timeouts: `make faults`.
pytestmark = pytest.mark.slow

LONG = {VARIABLE: "2"}
"""A training long enough for something to happen in it."""


def vhost(url: str) -> str:
    return quote(urlsplit(url).path[1:], safe="")


@pytest.fixture
def alarm(broker_node: BrokerNode) -> Iterator[BrokerNode]:
    """A node whose memory alarm is taken back afterwards."""
    before = broker_node.ctl("eval", "vm_memory_monitor:get_vm_memory_high_watermark().").strip()
    yield broker_node
    broker_node.ctl("set_vm_memory_high_watermark", before)


def test_a_participant_whose_queue_is_deleted_says_hello_and_gets_the_version(
    run: Run, broker_node: BrokerNode, broker_url: str
) -> None:
    """An operator deletes it in the management UI, in the middle of a training."""
    run.take_part(0, **LONG)
    run.take_part(1)
    coordinator = run.coordinate("--min-participants=2", "--rounds=2")
    run.await_event("participant-0", "version_received", version=0)
    broker_node.api(
        "DELETE", f"/api/queues/{vhost(broker_url)}/{run.federation}.participant.participant-0"
    )
    run.finish(coordinator)
    assert len(run.updates()) == 4
    versions = [event["version"] for event in run.told("participant-0", "version_received")]
    assert versions == [0, 1], "what is in training is not trained again"


def test_updates_in_a_deleted_results_queue_are_sent_again(
    run: Run, broker_node: BrokerNode, broker_url: str
) -> None:
    """The version goes out again at once, and kept updates come back: nothing is trained twice."""
    for index in range(2):
        run.take_part(index, **LONG)
    coordinator = run.coordinate("--min-participants=2", "--rounds=3", "--commit-seconds=300")
    for index in range(2):
        run.await_event(f"participant-{index}", "version_received", version=0)
    with frozen(run, coordinator):
        broker_node.api("DELETE", f"/api/queues/{vhost(broker_url)}/{run.federation}.results")
    run.finish(coordinator)
    assert len(run.updates()) == 6
    for index in range(2):
        sent = run.told(f"participant-{index}", "update_sent")
        trained = [event["version"] for event in sent if "loss" in event]
        assert trained == [0, 1, 2]
        assert len(sent) > len(trained), "what might have been in the queue came again"


def test_connections_that_an_operator_closes_come_back(
    run: Run, broker_node: BrokerNode, broker_url: str
) -> None:
    """Every connection of the federation is closed by force, in the middle of a round.

    The management API lists a connection seconds after it was made: the round has to outlast that.
    """
    for index in range(2):
        run.take_part(index, **{VARIABLE: "12"})
    coordinator = run.coordinate("--min-participants=2", "--rounds=2")
    run.await_event("participant-0", "version_received", version=0)
    path = f"/api/vhosts/{vhost(broker_url)}/connections"
    connected = 3 + 2 * 2  # a coordinator has three, a participant two
    until(lambda: len(json.loads(broker_node.api("GET", path))) == connected, "all connections")
    for connection in json.loads(broker_node.api("GET", path)):
        broker_node.api("DELETE", f"/api/connections/{quote(connection['name'], safe='')}")
    run.finish(coordinator)
    assert len(run.updates()) == 4


@contextmanager
def frozen(run: Run, coordinator: Service) -> Iterator[None]:
    """A coordinator that does nothing, with an answer of both participants in front of it.

    The broker says that it takes nothing only to who publishes: this one does, as soon as it goes
    on.
    """
    assert coordinator.pid is not None
    os.kill(coordinator.pid, signal.SIGSTOP)

    def newest(index: int, event: str) -> int:
        return max(
            (each["version"] for each in run.told(f"participant-{index}", event)), default=-1
        )

    until(
        lambda: (
            len(
                {
                    newest(i, event)
                    for i in range(2)
                    for event in ("version_received", "update_sent")
                }
            )
            == 1
        ),
        "the answers",
    )
    yield
    os.kill(coordinator.pid, signal.SIGCONT)


def test_a_memory_alarm_only_delays(run: Run, alarm: BrokerNode) -> None:
    """Nobody can publish while it lasts; everybody goes on when it is over."""
    for index in range(2):
        run.take_part(index)
    coordinator = run.coordinate("--min-participants=2", "--rounds=30")
    run.await_event("coordinator", "round_closed", round=2)
    with frozen(run, coordinator):
        alarm.ctl("set_vm_memory_high_watermark", "0.000001")
    run.await_event("coordinator", "broker", accepts=False)
    assert len(run.told("coordinator", "round_closed")) < 30
    alarm.ctl("set_vm_memory_high_watermark", "0.4")
    run.finish(coordinator)
    assert len(run.updates()) == 60


def test_sigterm_ends_a_coordinator_that_cannot_publish(run: Run, alarm: BrokerNode) -> None:
    """What is on its way out waits for hours, but not for longer than somebody wants it to."""
    for index in range(2):
        run.take_part(index)
    coordinator = run.coordinate("--min-participants=2", "--rounds=1000")
    run.await_event("coordinator", "round_closed", round=2)
    with frozen(run, coordinator):
        alarm.ctl("set_vm_memory_high_watermark", "0.000001")
    run.await_event("coordinator", "broker", accepts=False)
    run.services.terminate(coordinator)
    assert run.services.wait(coordinator) == 1
    assert run.told("coordinator", "stopping")


def test_a_training_longer_than_the_acknowledgement_timeout_counts_once(run: Run) -> None:
    """The broker closes the channel over it; the delivery comes again and is adopted."""
    with BrokerNode.start(configuration={"consumer_timeout": "1000"}) as impatient:
        # How often it looks; not every release has this in its configuration file.
        impatient.ctl("eval", "application:set_env(rabbit, channel_tick_interval, 1000).")
        run.services.environment["FANFOLD_BROKER_URL"] = impatient.url
        run.take_part(0, of=1, **{VARIABLE: "6"})
        coordinator = run.coordinate("--rounds=1", "--commit-seconds=0.2")
        run.finish(coordinator)
        log = (run.folder / "participant-0.log").read_text()
    assert run.updates() == [("participant-0", 0)]
    assert "timeout" in log
    assert len(run.told("participant-0", "version_received")) == 1


def test_two_federations_on_one_broker_do_not_touch(
    run: Run, fork_server: ForkServer, federation: str
) -> None:
    """The same ids, the same vhost, another name."""
    folder = run.folder / "other"
    with Services(fork_server, folder, run.services.environment) as services:
        runs = [run, Run(services, folder, f"{federation}-other")]
        for each in runs:
            for index in range(2):
                each.take_part(index)
        coordinators = [each.coordinate("--min-participants=2") for each in runs]
        hashes = [
            each.finish(coordinator) for each, coordinator in zip(runs, coordinators, strict=True)
        ]
        assert hashes[0] == hashes[1]
        assert [len(each.updates()) for each in runs] == [6, 6]

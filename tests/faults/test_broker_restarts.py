"""Versions are not on the broker's disk: after its restart the coordinator sends them again."""

import os
import signal

import pytest
from faulty_run import Run
from nodes import BrokerNode
from padded_task import VARIABLE
from services import Service, until

from fanfold.access.broker_environment import BROKER_VARIABLE

# Processes on a node of their own that is killed: `make faults`.
pytestmark = pytest.mark.slow

LATE = {VARIABLE: "2"}
"""A training long enough for the other to answer first, and be gone when the next version goes."""


@pytest.mark.parametrize("first", ["coordinator", "participant"])
def test_a_version_that_lay_in_a_queue_is_sent_again(run: Run, first: str) -> None:
    """Whoever is back first; no deadline reminds anybody, and who holds the version keeps on."""
    with BrokerNode.start() as node:
        run.services.environment[BROKER_VARIABLE] = node.url
        run.take_part(0, **LATE)
        other = run.take_part(1)
        coordinator = run.coordinate("--min-participants=2", "--deadline-seconds=600")
        run.await_event("participant-1", "update_sent", version=0)
        run.services.kill(other)  # one that is only frozen has it in the buffer of its socket
        run.await_event("participant-0", "version_received", version=1)
        if first == "participant":
            send(coordinator, signal.SIGSTOP)
        node.sync_declarations()
        node.kill()
        node.resume()
        if first == "participant":
            run.services.start(other)
            until(lambda: reads_its_queue(node, "participant-1"), "its return")
            send(coordinator, signal.SIGCONT)
        else:
            until(lambda: "the broker was restarted" in log_of(run), "the coordinator's return")
            run.services.start(other)
        run.finish(coordinator)
    assert len(run.updates()) == 6
    received = [event["version"] for event in run.told("participant-0", "version_received")]
    assert received == [0, 1, 2], "what is in training is not trained again"


def send(service: Service, number: signal.Signals) -> None:
    assert service.pid is not None
    os.kill(service.pid, number)


def log_of(run: Run) -> str:
    return (run.folder / "coordinator.log").read_text()


def reads_its_queue(node: BrokerNode, participant: str) -> bool:
    lines = node.ctl("list_queues", "--no-table-headers", "name", "consumers").splitlines()
    return any(participant in line and line.split()[-1] == "1" for line in lines)

"""The private broker node comes up, keeps to itself, and never outlives its parent."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from nodes import BrokerNode

from fanfold.local import rabbitmq_installation
from fanfold.schemas.errors import BrokerUnreachableError, InvalidInputError

PARENT = """
import sys, time
from fanfold.local.broker_node import BrokerNode
node = BrokerNode.start()
print((node._folder / "pid").read_text().strip(), node._epmd.pid, node._folder, flush=True)
{then}
"""


def eventually(condition: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition never came true"
        time.sleep(0.02)


def gone(pid: int) -> bool:
    """No such process, or only its entry waiting to be read."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return True
    return status.rpartition(")")[2].split()[0] == "Z"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("then", "ending"),
    [
        ("raise SystemExit(3)", None),
        ("time.sleep(600)", signal.SIGKILL),
    ],
    ids=["exception", "SIGKILL"],
)
def test_nothing_is_left_however_the_parent_ends(then: str, ending: signal.Signals | None) -> None:
    """Node, port mapper and data folder go when the process that started them goes."""
    program = [sys.executable, "-c", PARENT.format(then=then)]
    with subprocess.Popen(program, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout
        node, epmd, folder = parent.stdout.readline().split()
        if ending:
            parent.send_signal(ending)
    eventually(lambda: gone(int(node)) and gone(int(epmd)) and not Path(folder).exists())


@pytest.mark.slow
def test_data_survive_a_kill(broker_node: BrokerNode) -> None:
    """A killed node comes back on the same port with the same vhosts."""
    url = broker_node.create_vhost("survivor")
    broker_node.sync_declarations()
    pid = broker_node.pid
    broker_node.kill()
    broker_node.resume()
    assert broker_node.pid != pid
    assert "survivor" in broker_node.ctl("list_vhosts", "name").split()
    assert broker_node.vhost_url("survivor") == url
    broker_node.delete_vhost("survivor")


def test_everything_listens_on_loopback_only(broker_node: BrokerNode) -> None:
    """AMQP, management, Erlang distribution and port mapper: none is open to the network."""
    node = broker_node
    listens = node._setup.ports
    ports = {listens.amqp, listens.distribution, listens.port_mapper, listens.management}
    rows = [
        line.split()
        for table in ("/proc/net/tcp", "/proc/net/tcp6")
        for line in Path(table).read_text().splitlines()[1:]
    ]
    sockets = [row[1].split(":") for row in rows if row[3] == "0A"]  # 0A: listening
    addresses = {address: int(port, 16) for address, port in sockets if int(port, 16) in ports}
    assert set(addresses) <= {"0100007F", "00000000000000000000000001000000"}
    assert ports <= {int(port, 16) for _, port in sockets}


@pytest.mark.slow
def test_a_setting_given_by_the_caller_wins() -> None:
    """What `configuration` says replaces ours."""
    with BrokerNode.start(configuration={"consumer_timeout": "60000"}) as node:
        assert "60000" in node.ctl("eval", "application:get_env(rabbit, consumer_timeout).")


@pytest.mark.slow
def test_a_node_that_cannot_start_says_why() -> None:
    """What the server printed is part of the error."""
    with pytest.raises(BrokerUnreachableError, match="no_such_setting"):
        BrokerNode.start(configuration={"no_such_setting": "1"})


def test_a_missing_broker_names_the_three_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    """Package, container, or the address of a running one."""
    monkeypatch.setattr(rabbitmq_installation.shutil, "which", lambda *_, **__: None)
    with pytest.raises(InvalidInputError, match=r"apt install.*docker run.*FANFOLD_BROKER_URL"):
        BrokerNode.start()

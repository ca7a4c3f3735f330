"""Facts about living regions whose brokers stop and start again."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from nodes import BrokerNode

from fanfold.schemas.errors import LoginRefusedError
from tests.federation.test_regions import start_region

FIXED: dict[str, Any] = {"encoding": "fixed", "max_examples": 5}


@pytest.fixture
def node_below() -> Iterator[BrokerNode]:
    with BrokerNode.start() as node:
        yield node


def model_of_the_flat_run(live: Any, tmp_path: Path, rounds: int) -> str:
    flat = live.coordinator(
        "Tiny", rounds=rounds, out=tmp_path / "flat", min_participants=2, **FIXED
    )
    for index in range(2):
        live.participant("Tiny", index, 2)
    result = flat.result.result(90)
    live.stop_all()
    return str(result.parameters_sha256)


def start_root(live: Any, out: Path, rounds: int) -> Any:
    return live.coordinator(
        "Tiny", rounds=rounds, out=out, min_participants=1, max_region_updates=2, **FIXED
    )


@pytest.mark.slow
def test_a_region_goes_on_when_its_brokers_are_back(
    live: Any, broker_node: BrokerNode, node_below: BrokerNode, tmp_path: Path
) -> None:
    """Each is killed in two of its runs; nothing is lost, and no run below is the one before."""
    expected = model_of_the_flat_run(live, tmp_path, 30)
    region = start_region(live, "north", tmp_path, broker=(node_below.url,), connect_seconds=2)
    for index in range(2):
        live.participant("Tiny", index, 2, federation="north", broker=(node_below.url,))

    first = start_root(live, tmp_path / "first", 30)
    for count, node in enumerate((broker_node, node_below), start=1):
        first.wait_for("round_closed", times=10 * count)
        node.kill()
        node.resume()
    assert first.result.result(90).parameters_sha256 == expected
    region.wait_for("run_finished")

    node_below.kill()
    received = len(region.all("version_received"))
    second = start_root(live, tmp_path / "second", 30)
    region.wait_for("version_received", times=received + 1)
    with pytest.raises(TimeoutError):
        region.result.result(3)  # longer than it waits for a broker at its start
    node_below.resume()
    assert second.result.result(90).parameters_sha256 == expected
    runs = {each["run"] for each in region.all("version_received")}
    region.wait_for("run_finished", times=2)
    assert {each.name for each in (tmp_path / "north").iterdir()} == runs | {"above"}


@pytest.mark.slow
def test_a_login_below_is_tried_before_there_is_a_run(live: Any, tmp_path: Path) -> None:
    """Nobody has to wait for the first version to learn that it is wrong."""
    _, _, place = live.url.partition("@")
    region = start_region(live, "north", tmp_path, broker=(f"amqp://nobody:wrong@{place}",))
    with pytest.raises(LoginRefusedError, match="nobody"):
        region.result.result(90)

"""Facts about an upload whose process is killed: the next one sends only what is missing."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from nodes import BrokerNode

from fanfold.coordinator.persistence.history import read_history
from fanfold.runs.replay import replay
from fanfold.runs.settings import ReplaySettings
from tests.federation.cut_uploads import NUM_VALUES, Large, Seen, Tap, tapped

TASK = f"{Large.__module__}:{Large.__name__}"
CHUNK_BYTES = NUM_VALUES * 4 // 48
BYTES_PER_SECOND = NUM_VALUES
"""As many as are sent ahead of their confirmations at most: a quarter of the update."""
HALF = 24


@pytest.fixture
def tap(live: Any) -> Iterator[Tap]:
    with tapped(live.url, live.name) as tap:
        yield tap


def start(live: Any, service: str, *flags: str) -> Any:
    common = [f"--federation={live.name}", f"--task={TASK}", "--device=cpu", "--json"]
    return live.command(service, *common, *flags)


def coordinate(live: Any) -> Any:
    """Start a coordinator of one round, which acknowledges parts of an upload at once."""
    flags = ["--rounds=1", "--min-participants=1", "--commit-seconds=0.1"]
    return start(live, "coordinator", f"--out={live.out}", *flags)


def take_part(live: Any, state: Path) -> Any:
    """Start the participant, on a line that it may not fill."""
    pace = [f"--chunk-bytes={CHUNK_BYTES}", f"--max-bytes-per-second={BYTES_PER_SECOND}"]
    return start(live, "participant", "--id=p0", f"--state-dir={state}", "--once", *pace)


def seconds_of(chunks: Sequence[Seen]) -> float:
    """The time from the end of the first chunk to the end of the last."""
    return chunks[-1].at - chunks[0].at


def assert_counted_once(live: Any, told: dict[str, Any]) -> None:
    """The model is what one training makes of version 0, and the history says so."""
    replayed = replay(ReplaySettings(out=live.out), say=lambda _event: None)
    assert (replayed.agrees, replayed.updates) == (True, 1)
    assert replayed.parameters_sha256 == told["parameters_sha256"]


@pytest.mark.slow
def test_a_killed_participant_goes_on_where_its_upload_stopped(
    live: Any, tap: Tap, tmp_path: Path
) -> None:
    """Only what the broker had not confirmed comes twice, and it keeps to its share of the line."""
    coordinator = coordinate(live)
    first = take_part(live, tmp_path / "state")
    tap.wait_for(HALF)
    first.kill()
    before = len(tap.seen)
    second = take_part(live, tmp_path / "state")
    told = coordinator.wait_for("run_finished")
    assert second.end()[0] == 0
    assert tap.bytes_twice <= BYTES_PER_SECOND
    for chunks in (tap.seen[:before], tap.seen[before:]):
        num_bytes = sum(each.num_bytes for each in chunks[1:])
        assert num_bytes <= 1.1 * BYTES_PER_SECOND * seconds_of(chunks)
    assert_counted_once(live, told)
    assert not (tmp_path / "state" / "sent-chunks").exists()


@pytest.mark.slow
def test_a_lost_connection_costs_no_more_than_what_was_in_doubt(
    live: Any, tap: Tap, tmp_path: Path, broker_node: BrokerNode
) -> None:
    """Both of the participant's are closed by force; the broker has listed them by then."""
    coordinator = coordinate(live)
    participant = take_part(live, tmp_path / "state")
    tap.wait_for(HALF // 2)
    vhost = live.url.rpartition("/")[2]
    listed = json.loads(broker_node.api("GET", f"/api/vhosts/{vhost}/connections"))
    ours = [each for each in listed if each["client_properties"].get("participant") == "p0"]
    assert len(ours) == 2
    for each in ours:
        broker_node.api("DELETE", f"/api/connections/{quote(each['name'], safe='')}")
    assert len(tap.seen) < 2 * HALF
    told = coordinator.wait_for("run_finished")
    assert participant.end()[0] == 0
    assert tap.bytes_twice <= BYTES_PER_SECOND
    assert_counted_once(live, told)


@pytest.mark.slow
@pytest.mark.parametrize("is_spool_lost", [False, True])
def test_the_coordinator_may_be_killed_meanwhile(
    live: Any, tap: Tap, tmp_path: Path, is_spool_lost: bool
) -> None:
    """It goes on from its spool; what that lost it asks for, and the update is sent whole."""
    coordinator = coordinate(live)
    participant = take_part(live, tmp_path / "state")
    tap.wait_for(HALF)
    coordinator.kill()
    participant.kill()
    (part,) = (live.out / "spool").iterdir()
    if is_spool_lost:
        part.unlink()
    again = coordinate(live)
    take_part(live, tmp_path / "state")
    told = again.wait_for("run_finished")
    whole = tap.bytes_once if is_spool_lost else 0
    assert tap.bytes_twice <= whole + BYTES_PER_SECOND
    assert_counted_once(live, told)
    events = [record["event"] for record in read_history(live.out / "history.jsonl")]
    assert events.count("upload_damaged") == is_spool_lost

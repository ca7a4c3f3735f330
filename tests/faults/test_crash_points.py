"""A coordinator that dies between two steps of closing a round ends at the same parameters."""

import errno
import os
from pathlib import Path

import pytest
from fault_points import CRASH_CODE, CRASHES, PARTS_KEPT
from faulty_run import Run
from services import ForkServer, Services

from fanfold.access.broker_environment import BROKER_VARIABLE
from fanfold.coordinator.persistence.history import read_history


@pytest.fixture(scope="module")
def undisturbed() -> dict[str, str]:
    """The hash of the run that nobody disturbs, once it is known."""
    return {}


@pytest.fixture
def reference(
    undisturbed: dict[str, str], fork_server: ForkServer, tmp_path: Path, broker_url: str
) -> str:
    """What three rounds of two participants make of version 0."""
    if not undisturbed:
        folder = tmp_path / "undisturbed"
        with Services(fork_server, folder, {BROKER_VARIABLE: broker_url}) as services:
            run = Run(services, folder, "undisturbed")
            run.take_part(0)
            run.take_part(1)
            undisturbed["hash"] = run.finish(run.coordinate("--min-participants=2"))
    return undisturbed["hash"]


@pytest.mark.parametrize("crash", CRASHES)
def test_resumes_to_the_same_hash(run: Run, reference: str, crash: str) -> None:
    """Aggregate, checkpoint, acknowledge, publish: between any two of them a process may end."""
    for index in range(2):
        run.take_part(index)
    coordinator = run.coordinate("--min-participants=2", trouble=crash)
    assert run.services.wait(coordinator) == CRASH_CODE
    run.services.start(coordinator)
    assert run.finish(coordinator) == reference
    assert sorted(run.updates()) == [
        (f"participant-{index}", version) for index in range(2) for version in range(3)
    ]


def test_a_goal_of_all_with_fresh_updates_only_is_the_synchronous_mode(
    run: Run, reference: str
) -> None:
    """One mechanism, three names."""
    for index in range(2):
        run.take_part(index)
    coordinator = run.coordinate("--min-participants=2", "--mode=buffered", "--goal=all")
    assert run.finish(coordinator) == reference


def test_participants_stay_for_the_next_run(run: Run, reference: str) -> None:
    """The second run starts from other files, with the participants of the first."""
    for index in range(2):
        run.take_part(index)
    assert run.finish(run.coordinate("--min-participants=2")) == reference
    second = run.folder / "second"
    coordinator = run.coordinate("--min-participants=2", f"--out={second}", name="coordinator-2")
    assert run.finish(coordinator) == reference


@pytest.mark.slow
def test_no_room_for_the_checkpoint_pauses_the_run(run: Run, reference: str) -> None:
    """It says why, acknowledges nothing, and goes on when there is room."""
    for index in range(2):
        run.take_part(index)
    room = run.folder / "room"
    coordinator = run.coordinate("--min-participants=2", trouble=f"full disk until {room}")
    paused = run.await_event("coordinator", "disk_full")
    assert paused["folder"] == str(run.out)
    assert paused["reason"] == "No space left on device"
    room.touch()
    assert run.finish(coordinator) == reference


@pytest.mark.slow
@pytest.mark.parametrize("error", ["EROFS", "EIO", "EACCES"])
def test_a_disk_that_takes_nothing_pauses_the_run(run: Run, reference: str, error: str) -> None:
    """Made read-only in the middle of a run, or failing: it goes on when that is mended."""
    for index in range(2):
        run.take_part(index)
    mended = run.folder / "mended"
    coordinator = run.coordinate(
        "--min-participants=2", trouble=f"{error} from round 2 until {mended}"
    )
    paused = run.await_event("coordinator", "disk_refuses")
    assert paused["folder"] == str(run.out)
    assert paused["reason"] == os.strerror(getattr(errno, error))
    mended.touch()
    assert run.finish(coordinator) == reference


def test_sigterm_ends_a_coordinator_whose_disk_is_full(run: Run, reference: str) -> None:
    """What it cannot write is as if it had been killed: the next one does it again."""
    for index in range(2):
        run.take_part(index)
    coordinator = run.coordinate(
        "--min-participants=2", trouble=f"full disk until {run.folder / 'never'}"
    )
    run.await_event("coordinator", "disk_full")
    run.services.terminate(coordinator)
    assert run.services.wait(coordinator) == 1
    run.services.start(coordinator)
    assert run.finish(coordinator) == reference


def test_an_upload_whose_acknowledged_part_was_damaged_is_asked_for_again(
    run: Run, reference: str
) -> None:
    """The broker has it no more: without that the round would wait for ever."""
    for index in range(2):
        run.take_part(index)
    flags = ("--min-participants=2", "--commit-seconds=0.000001")
    first = run.coordinate(*flags, trouble=PARTS_KEPT)
    assert run.services.wait(first) == CRASH_CODE
    for path in (run.out / "spool").iterdir():
        content = bytearray(path.read_bytes())
        content[7] ^= 1
        path.write_bytes(content)
    second = run.coordinate("--min-participants=2", name="second")
    assert run.finish(second) == reference
    told = run.told("second", "upload_damaged")
    records = [
        record
        for record in read_history(run.out / "history.jsonl")
        if record["event"] == "upload_damaged"
    ]
    assert len(told) == len(records) >= 1
    for fields, record in zip(told, records, strict=True):
        assert fields["is_asked_again"]
        assert fields["base_version"] == 0
        assert 0 in record["chunks"]
    assert len(run.updates()) == 6

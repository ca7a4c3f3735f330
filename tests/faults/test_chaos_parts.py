"""What a run of chaos stands on: the plan, the reading of events, the disks, and the proof."""

import json
from pathlib import Path
from typing import Any

import pytest
from chaos_disks import Disk
from chaos_plan import Disturbance, Kill, plans
from chaos_proof import counted, tracebacks
from disturbances import KINDS
from told import Told


def test_a_seed_decides_the_plan_and_every_kind_comes_before_any_comes_twice() -> None:
    """A chaos with as many disturbances as there are kinds leaves none out."""
    drawn, again = (plans(kills=9, kinds=KINDS, disturbances=len(KINDS), seed=3) for _ in range(2))
    assert drawn == again
    steps = [step for each in drawn for step in each]
    victims = [step.victim for step in steps if isinstance(step, Kill)]
    assert sorted(victims) == ["broker"] * 3 + ["coordinator"] * 3 + ["participant"] * 3
    names = [step.kind.name for step in steps if isinstance(step, Disturbance)]
    assert sorted(names) == sorted(kind.name for kind in KINDS)


def test_a_line_that_a_kill_cut_short_hides_no_event_behind_it(tmp_path: Path) -> None:
    """The next process writes on where the last one broke off."""
    path = tmp_path / "events"
    told = Told(path)
    assert told.events() == []
    path.write_text('{"event": "a", "n": 1}\n{"event": "b", "n"')
    assert told.count("a") == 1
    with path.open("a") as file:
        file.write('{"event": "a", "n": 2}\n')
    assert [event["n"] for event in told.events()] == [1, 2]


def test_a_disk_is_full_and_read_only_and_neither_for_good(tmp_path: Path) -> None:
    """Where nobody may mount one there is a plain folder, and it says so."""
    disk = Disk(tmp_path / "disk")
    if not disk.is_mounted:
        pytest.skip("only root mounts disks")
    file = disk.folder / "file"
    disk.fill()
    with pytest.raises(OSError, match="No space left on device"):
        file.write_bytes(bytes(4096))
    disk.free()
    disk.protect()
    with pytest.raises(OSError, match="Read-only file system"):
        file.write_bytes(b"x")
    disk.release()
    file.write_bytes(b"kept")
    disk.close()
    assert file.read_bytes() == b"kept"


def history(folder: Path, *records: dict[str, Any]) -> Path:
    (folder / "history.jsonl").write_text("".join(json.dumps(each) + "\n" for each in records))
    return folder


def record(event: str, number: int, *participants: str) -> dict[str, Any]:
    """Return a record of round `number`, whose updates are of the version before it."""
    updates = [{"participant": name, "base_version": number - 1} for name in participants]
    return {"event": event, "round": number, "updates": updates}


def test_the_proof_takes_a_history_in_which_everything_counts_once(tmp_path: Path) -> None:
    """What a damaged checkpoint took is named, and may count when it comes again."""
    records = (record("commit", 1, "a"), record("round", 1, "a", "b"), record("commit", 2, "c"))
    lost = record("updates_lost", 2, "c", "b")
    closed, names, num_lost = counted(
        history(tmp_path, *records, lost, record("round", 2, "a", "b"))
    )
    assert len(closed) == 2
    assert names == {("a", 0), ("b", 0), ("a", 1), ("b", 1)}
    assert num_lost == 2


@pytest.mark.parametrize(
    ("records", "reason"),
    [
        ((record("round", 1, "a", "a"),), "an update counts twice"),
        ((record("commit", 1, "b"), record("round", 1, "a")), r"count nowhere: \[\('b', 0\)\]"),
        ((record("round", 2, "a"),), "rounds"),
        ((record("round", 1, "a"), record("round", 1, "b")), "rounds"),
    ],
)
def test_the_proof_refuses_what_was_lost_or_counted_twice(
    tmp_path: Path, records: tuple[dict[str, Any], ...], reason: str
) -> None:
    """An update twice, an acknowledged one nowhere, a round that is missing or there twice."""
    with pytest.raises(AssertionError, match=reason):
        counted(history(tmp_path, *records))


def test_a_traceback_in_a_log_is_found_with_its_last_line(tmp_path: Path) -> None:
    """Whoever reads the faults sees what was raised."""
    (tmp_path / "coordinator.log").write_text(
        'Traceback (most recent call last):\n  File "x", line 1\n    f()\nOSError: no\n'
    )
    (tmp_path / "participant-0.log").write_text("all is well\n")
    assert tracebacks(tmp_path) == ["traceback in coordinator.log: OSError: no"]

"""Facts about the registry: what is written is read, and nothing half-written is ever seen."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from fanfold.registry.details import details_of, lineage_of, summary_of
from fanfold.registry.record import MOST_REQUESTS, Parent, RunRecord
from fanfold.registry.registry import RECORD, Registry
from fanfold.schemas.errors import InvalidInputError

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def record(run: str = "first", **fields: Any) -> RunRecord:
    given: dict[str, Any] = {
        "number": 1,
        "state": "queued",
        "submitted_at": NOON,
        "submitted_by": "ada",
        "task": "digits",
        "options": {"rounds": "3"},
        "settings": {"rounds": 3},
    }
    return RunRecord(run=run, **(given | fields))


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    """Every field of it, also those that hold others."""
    registry = Registry(tmp_path)
    written = record(
        parent=Parent(run="zeroth", version=7),
        declined={"charite": "not this task"},
        software={"python": "3.11"},
        requests=("a", "b"),
        ended_at=NOON,
    )
    registry.write(written)
    assert registry.read("first") == written
    assert registry.all() == [written]


def test_runs_are_listed_in_the_order_of_their_submission(tmp_path: Path) -> None:
    registry = Registry(tmp_path)
    for number, run in ((2, "a"), (1, "b"), (3, "c")):
        registry.write(record(run, number=number))
    assert [each.run for each in registry.all()] == ["b", "a", "c"]


def test_a_folder_without_a_record_is_no_run(tmp_path: Path) -> None:
    """A service was killed between making the folder and writing the record: nothing was said."""
    registry = Registry(tmp_path)
    registry.folder_of("half").mkdir(parents=True)
    assert registry.all() == []
    with pytest.raises(InvalidInputError, match="there is no run 'half'; `fanfold runs` lists"):
        registry.read("half")


def test_a_crash_while_a_record_is_written_leaves_the_one_before(tmp_path: Path) -> None:
    """What was begun lies in a file of its own, which the next write replaces."""
    registry = Registry(tmp_path)
    registry.write(record())
    begun = registry.folder_of("first") / f"{RECORD}.incoming"
    begun.write_text('{"run": "fir')
    assert registry.read("first") == record()
    registry.write(record(state="open"))
    assert registry.read("first").state == "open"


@pytest.mark.parametrize("name", ["../first", "", "a.b", "nobody"])
def test_a_name_that_is_no_run_leads_nowhere(tmp_path: Path, name: str) -> None:
    registry = Registry(tmp_path / "registry")
    registry.write(record())
    with pytest.raises(InvalidInputError, match="there is no run"):
        registry.read(name)


def test_a_record_of_another_release_is_refused_in_words(tmp_path: Path) -> None:
    registry = Registry(tmp_path)
    registry.write(record())
    path = registry.folder_of("first") / RECORD
    path.write_text(path.read_text().replace('"queued"', '"dreaming"'))
    with pytest.raises(InvalidInputError, match=r"no record of a run .* \(field 'state'\)"):
        registry.all()


def test_a_run_that_is_removed_is_gone_with_its_files(tmp_path: Path) -> None:
    """Its name can be given again, also where the service was killed in the middle."""
    registry = Registry(tmp_path)
    for _ in range(2):
        registry.write(record())
        (registry.folder_of("first") / "history.jsonl").touch()
        registry.remove("first", request="r1")
        assert registry.all() == []
        (tmp_path / "removed" / "first").mkdir(parents=True)  # as after a kill
    registry.sweep()
    registry.remove("first", request="r2")  # which comes again, and the run is gone
    assert registry.removals() == ["r1", "r1", "r2"]
    assert not (tmp_path / "removed").exists()


def test_a_lineage_goes_back_to_a_run_that_began_anew(tmp_path: Path) -> None:
    registry = Registry(tmp_path)
    registry.write(record("a"))
    registry.write(record("b", number=2, parent=Parent(run="a", version=3)))
    youngest = record("c", number=3, parent=Parent(run="b", version=5))
    registry.write(youngest)
    assert [(each.run, each.version) for each in lineage_of(registry, youngest)] == [
        ("b", 5),
        ("a", 3),
    ]
    registry.remove("b", request="r2")
    assert [each.run for each in lineage_of(registry, youngest)] == ["b"]


def test_a_lineage_with_a_name_that_was_given_again_ends(tmp_path: Path) -> None:
    registry = Registry(tmp_path)
    circular = record("a", parent=Parent(run="b", version=1))
    registry.write(circular)
    registry.write(record("b", number=2, parent=Parent(run="a", version=1)))
    assert [each.run for each in lineage_of(registry, circular)] == ["b", "a"]


def test_a_run_that_was_never_open_has_details_too(tmp_path: Path) -> None:
    registry = Registry(tmp_path)
    registry.write(record())
    details = details_of(registry, record())
    assert (details["version"], details["closed_rounds"], details["models"]) == (None, [], {})
    assert summary_of(record(), version=None)["rounds"] == 3


def test_the_last_requests_are_remembered_and_no_more() -> None:
    after = record()
    for number in range(MOST_REQUESTS + 3):
        after = after.after(f"r{number}")
    assert after.requests[0] == "r3"
    assert len(after.requests) == MOST_REQUESTS

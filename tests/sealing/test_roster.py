"""Facts about the roster and its audit trail."""

import json
import multiprocessing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from fanfold.schemas.errors import InvalidInputError
from fanfold.sealing.audit_trail import AuditTrail, checked_lines
from fanfold.sealing.identity import Identity
from fanfold.sealing.roster import Roster, RosterFile, changing, read_roster

ANN, BEN = Identity.generate().public, Identity.generate().public
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def test_only_what_takes_keys_away_counts_as_a_removal() -> None:
    """A removal is what changes the run's key; one who comes learns the one there is."""
    roster = Roster().enroll("ann", ANN)
    assert (roster.revision, roster.removals) == (1, 0)
    assert roster.rotate("ann", BEN).removals == 1
    assert roster.revoke("ann").removals == 1
    assert roster.revoke("ann").members == {}


def test_the_roster_refuses_what_makes_no_sense() -> None:
    roster = Roster().enroll("ann", ANN)
    with pytest.raises(InvalidInputError, match="ann is on the roster already"):
        roster.enroll("ann", BEN)
    with pytest.raises(InvalidInputError, match="these are the keys of ann already"):
        roster.enroll("ben", ANN)
    with pytest.raises(InvalidInputError, match="ben is not on the roster"):
        roster.revoke("ben")
    with pytest.raises(InvalidInputError, match="ben is not on the roster"):
        roster.rotate("ben", BEN)
    with pytest.raises(InvalidInputError, match="must be 1 to 64 letters"):
        roster.enroll("../ann", ANN)


def test_a_reader_sees_the_roster_of_now(tmp_path: Path) -> None:
    """Also one that has it open, as a coordinator does; a damaged one is refused in words."""
    file = RosterFile(tmp_path)
    assert file.roster.members == {}
    with changing(tmp_path) as held:
        held[0] = held[0].enroll("ann", ANN)
    assert file.roster.members == {"ann": ANN}
    assert file.roster is file.roster
    with changing(tmp_path) as held:
        held[0] = held[0].revoke("ann")
    assert file.roster.members == {}
    (tmp_path / "roster.json").write_text('{"members": 3}')
    with pytest.raises(InvalidInputError, match="is damaged"):
        read_roster(tmp_path)
    file.close()


def test_a_change_that_fails_leaves_the_roster(tmp_path: Path) -> None:
    with changing(tmp_path) as held:
        held[0] = held[0].enroll("ann", ANN)

    def fail_halfway() -> None:
        with changing(tmp_path) as held:
            held[0] = held[0].revoke("ann")
            raise ValueError("halfway")

    with pytest.raises(ValueError, match="halfway"):
        fail_halfway()
    assert read_roster(tmp_path).members == {"ann": ANN}


def trail(folder: Path, by: str = "ward") -> AuditTrail:
    return AuditTrail(folder, lambda: NOON, by=by)


def test_the_trail_says_who_what_when_and_by_whom(tmp_path: Path) -> None:
    trail(tmp_path).append("enrolled", "ann", fingerprint="12")
    trail(tmp_path, "coordinator").append("joined", "ann")
    first, second = checked_lines(tmp_path / "audit.jsonl")
    assert first.record == {
        "time": "2026-03-01T12:00:00.000Z",
        "event": "enrolled",
        "participant": "ann",
        "by": "ward",
        "fingerprint": "12",
    }
    assert second.record["by"] == "coordinator"


def write(folder: Path, by: str) -> None:
    for _ in range(20):
        trail(folder, by).append("joined", by)


def test_two_who_write_at_once_make_one_chain(tmp_path: Path) -> None:
    """The coordinator's and the operator's lines follow each other, whoever was first."""
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=write, args=(tmp_path, by)) for by in ("ann", "ben")]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    lines = list(checked_lines(tmp_path / "audit.jsonl"))
    assert sorted(line.record["by"] for line in lines) == ["ann"] * 20 + ["ben"] * 20


@pytest.mark.parametrize("how", ["changed", "moved", "taken out", "put in"])
def test_a_line_that_was_tampered_with_is_found(tmp_path: Path, how: str) -> None:
    for name in ("ann", "ben", "cid"):
        trail(tmp_path).append("enrolled", name)
    path = tmp_path / "audit.jsonl"
    first, second, third = path.read_bytes().splitlines(keepends=True)
    forged = json.dumps(json.loads(second)).encode() + b"\n"
    path.write_bytes(
        {
            "changed": first + second.replace(b"ben", b"bob") + third,
            "moved": second + first + third,
            "taken out": first + third,
            "put in": first + second + forged + third,
        }[how]
    )
    with pytest.raises(InvalidInputError, match=r"line \d of .* was changed, moved or cut off"):
        list(checked_lines(path))


def test_what_a_crash_left_of_a_line_is_replaced(tmp_path: Path) -> None:
    """Its writer never heard that it was written; a foreign last line is refused instead."""
    path = tmp_path / "audit.jsonl"
    trail(tmp_path).append("enrolled", "ann")
    whole = path.read_bytes()
    path.write_bytes(whole + whole[:20])
    trail(tmp_path).append("revoked", "ann")
    assert [line.record["event"] for line in checked_lines(path)] == ["enrolled", "revoked"]
    path.write_bytes(path.read_bytes() + b"hello\n")
    with pytest.raises(InvalidInputError, match="was not written by fanfold"):
        trail(tmp_path).append("enrolled", "ann")

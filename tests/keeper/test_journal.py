"""Facts about a keeper's journal: what it promised is on the disk, and nobody changed it."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from keeper_trials import NAMES, Federation, clock, fail, wanted

from fanfold.keeper.journal import FILE, NAMED_MEMBERS, WHOLE_REFUSALS, Journal
from fanfold.schemas.errors import InvalidInputError
from fanfold.schemas.keeper_messages import Masks

Make = Callable[[int], Federation]


def test_a_journal_that_was_changed_is_not_believed(federation: Make) -> None:
    """A torn last line is what a crash leaves, and nothing was answered after it."""
    made = federation(1)
    made.keeper().answer(wanted([made.update(name) for name in NAMES[:3]]))
    made.close()
    path = made.folder / "0" / FILE
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"event":"set","ru')
    made.keeper()
    made.close()
    assert path.read_bytes() == whole
    path.write_bytes(whole.replace(b'"bob"', b'"dee"'))
    with pytest.raises(InvalidInputError, match=r"line 1 of .* was changed after it was written"):
        made.keeper()


def test_two_keepers_do_not_share_a_folder(federation: Make) -> None:
    """Each would not know what the other promised."""
    made = federation(1)
    made.keeper()
    with pytest.raises(InvalidInputError, match="another keeper uses --state-dir"):
        made.keeper()


def test_a_promise_is_on_the_disk_before_it_is_answered(
    federation: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the disk refuses to sync, nothing is told, and nothing is promised."""
    made = federation(1)
    answering = made.keeper()
    request = wanted([made.update(name) for name in NAMES[:3]])

    def refuse(_descriptor: int) -> None:
        raise OSError(5, "no disk")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", refuse)
        with pytest.raises(OSError, match="no disk"):
            answering.answer(request)
    assert made.journals[-1].set_of(("r1", "ann", 3)) is None
    assert isinstance(answering.answer(request)[0], Masks)


def test_refusals_cannot_fill_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After many of them only the powers of two are written, also by the next process."""
    monkeypatch.setattr(os, "fsync", lambda _descriptor: None)  # the disk is not what is tested
    many = [("r1", f"p{index}", 3) for index in range(1000)]
    for _ in range(2):
        journal = Journal(tmp_path, clock, pause=fail)
        for _ in range(WHOLE_REFUSALS):
            journal.refuse("0" * 64, many, "no")
        journal.close()
    records = [json.loads(line) for line in (tmp_path / FILE).read_text().splitlines()]
    assert [each["number"] for each in records] == [
        *range(1, WHOLE_REFUSALS + 1),
        2 * WHOLE_REFUSALS,
    ]
    assert {each["of"] for each in records} == {1000}
    assert {len(each["members"]) for each in records} == {NAMED_MEMBERS}

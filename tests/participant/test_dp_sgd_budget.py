"""Facts about what DP-SGD has spent: it outlives a process, and is counted beforehand."""

import errno
import json
from pathlib import Path

import pytest

from fanfold.learning import dp_sgd
from fanfold.participant import state_files
from fanfold.participant.dp_sgd_budget import DpSgdBudget, example_privacy
from fanfold.participant.settings import ParticipantSettings
from fanfold.schemas.errors import InvalidInputError


def never(error: OSError) -> None:
    raise error


def test_all_trainings_are_told_together_after_a_restart_too(tmp_path: Path) -> None:
    """At any noise and rate there was."""
    first = DpSgdBudget(tmp_path, noise=1.0, delta=1e-5, pause=never).spend(0.1, 50)
    assert first == {"epsilon": dp_sgd.epsilon([(1.0, 0.1, 50)], 1e-5), "delta": 1e-5}
    again = DpSgdBudget(tmp_path, noise=1.0, delta=1e-5, pause=never).spend(0.1, 50)
    assert again["epsilon"] == pytest.approx(dp_sgd.epsilon([(1.0, 0.1, 100)], 1e-5))
    other = DpSgdBudget(tmp_path, noise=2.0, delta=1e-5, pause=never).spend(0.1, 1)
    assert other["epsilon"] > again["epsilon"]
    assert json.loads((tmp_path / "dp-sgd.json").read_text()) == [[1.0, 0.1, 100], [2.0, 0.1, 1]]


def test_a_damaged_ledger_is_not_taken_for_an_empty_one(tmp_path: Path) -> None:
    """What was spent is not known then, and somebody has to decide."""
    (tmp_path / "dp-sgd.json").write_text("[[1")
    with pytest.raises(InvalidInputError, match=r"dp-sgd\.json is damaged"):
        DpSgdBudget(tmp_path, noise=1.0, delta=1e-5, pause=never)


def test_nobody_has_privacy_unasked(tmp_path: Path) -> None:
    settings = ParticipantSettings(id="ann", state_dir=tmp_path)
    assert example_privacy(settings, tmp_path, pause=never) is None
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_takes_nothing_is_waited_for_and_nothing_is_spent_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Made read-only by its own file system, say: somebody mends it."""
    replace, pauses = state_files.replace, list[OSError]()
    monkeypatch.setattr(state_files, "replace", read_only)

    def mend(error: OSError) -> None:
        pauses.append(error)
        monkeypatch.setattr(state_files, "replace", replace)

    DpSgdBudget(tmp_path, noise=1.0, delta=1e-5, pause=mend).spend(0.1, 50)
    assert [error.errno for error in pauses] == [errno.EROFS]
    assert json.loads((tmp_path / "dp-sgd.json").read_text()) == [[1.0, 0.1, 50]]


def read_only(*_: object) -> None:
    raise OSError(errno.EROFS, "Read-only file system")


def test_what_another_process_spent_meanwhile_counts(tmp_path: Path) -> None:
    """An old pod that was not gone when this one started."""
    mine, other = (DpSgdBudget(tmp_path, noise=1.0, delta=1e-5, pause=never) for _ in range(2))
    other.spend(0.1, 50)
    mine.spend(0.1, 50)
    assert json.loads((tmp_path / "dp-sgd.json").read_text()) == [[1.0, 0.1, 100]]

"""Facts about what DP-SGD has spent: it outlives a process, and is counted beforehand."""

import json
from pathlib import Path

import pytest

from learning import dp_sgd
from participant.ledger import Ledger, example_privacy
from participant.settings import ParticipantSettings
from schemas.errors import InvalidInputError


def test_all_trainings_are_told_together_after_a_restart_too(tmp_path: Path) -> None:
    """At any noise and rate there was."""
    first = Ledger(tmp_path, noise=1.0, delta=1e-5).spend(0.1, 50)
    assert first == {"epsilon": dp_sgd.epsilon([(1.0, 0.1, 50)], 1e-5), "delta": 1e-5}
    again = Ledger(tmp_path, noise=1.0, delta=1e-5).spend(0.1, 50)
    assert again["epsilon"] == pytest.approx(dp_sgd.epsilon([(1.0, 0.1, 100)], 1e-5))
    other = Ledger(tmp_path, noise=2.0, delta=1e-5).spend(0.1, 1)
    assert other["epsilon"] > again["epsilon"]
    assert json.loads((tmp_path / "dp-sgd.json").read_text()) == [[1.0, 0.1, 100], [2.0, 0.1, 1]]


def test_a_damaged_ledger_is_not_taken_for_an_empty_one(tmp_path: Path) -> None:
    """What was spent is not known then, and somebody has to decide."""
    (tmp_path / "dp-sgd.json").write_text("[[1")
    with pytest.raises(InvalidInputError, match=r"dp-sgd\.json is damaged"):
        Ledger(tmp_path, noise=1.0, delta=1e-5)


def test_nobody_has_privacy_unasked(tmp_path: Path) -> None:
    settings = ParticipantSettings(id="ann", state_dir=tmp_path)
    assert example_privacy(settings, tmp_path) is None
    assert list(tmp_path.iterdir()) == []

"""Facts about the picture of simulated runs."""

import json
from pathlib import Path

import pytest

from fanfold.schemas.errors import InvalidInputError
from fanfold.simulation import plot
from tests.simulation.test_simulation import OPTIONS, simulated


def test_the_plot_is_a_picture_of_the_histories(tmp_path: Path) -> None:
    records = [
        {"event": "round", "updates": []},
        {"event": "round_closed", "seconds": 2.0, "accuracy": None},
        {"event": "round_closed", "seconds": 3.0, "accuracy": 0.5},
        {"event": "round_closed", "seconds": 4.0, "accuracy": 0.75},
    ]
    history = tmp_path / "history.jsonl"
    history.write_text("".join(json.dumps(record) + "\n" for record in records))
    plot.draw({"sync": history, "empty": _empty(tmp_path)}, tmp_path / "x.png", title="A title")

    assert plot.curve(history) == ([5.0, 9.0], [0.5, 0.75])
    assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG\r\n")


def _empty(folder: Path) -> Path:
    path = folder / "empty.jsonl"
    path.touch()
    return path


def test_a_missing_matplotlib_is_said_before_anything_is_simulated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plot, "find_spec", lambda _name: None)

    with pytest.raises(InvalidInputError, match=r"pip install 'fanfold\[plot\]'"):
        simulated(tmp_path, **OPTIONS, plot=True)
    assert list(tmp_path.iterdir()) == []

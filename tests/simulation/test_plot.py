"""Facts about the picture of simulated runs."""

from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure

from fanfold.schemas.errors import InvalidInputError
from fanfold.simulation import plot
from fanfold.simulation.curves import Curve
from tests.simulation.test_simulation import OPTIONS, simulated

ONE = Curve([1.0, 3.0], [0.0, 1.0], end=4.0)
OTHER = Curve([2.0, 4.0], [1.0, 1.0], end=4.0)


def drawn(path: Path, monkeypatch: pytest.MonkeyPatch, **options: Any) -> Any:
    """Draw two modes, and return the axes."""
    saved: list[Figure] = []
    write = Figure.savefig

    def save(figure: Figure, *arguments: Any, **keywords: Any) -> None:
        saved.append(figure)
        write(figure, *arguments, **keywords)

    monkeypatch.setattr(Figure, "savefig", save)
    groups = {"sync": [ONE], "async": [ONE, OTHER], "empty": [Curve([], [], end=0.0)]}
    given: dict[str, Any] = {"title": "A title", "metric": "loss", "axis": "updates"} | options
    plot.figure(groups, **given).savefig(path, format="png")
    return saved[0].axes[0]


def test_a_line_for_each_mode_and_a_band_where_there_are_seeds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    axes = drawn(tmp_path / "x.png", monkeypatch)
    assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG\r\n")
    lines = {line.get_label(): list(line.get_ydata()) for line in axes.lines}
    assert lines == {"sync": [0.0, 1.0], "async": [0.75, 1.0], "empty": []}
    (band,) = axes.collections
    edges = band.get_paths()[0].vertices[:, 1]
    assert (min(edges), max(edges)) == pytest.approx((0.75 - 0.125**0.5, 0.75 + 0.125**0.5))


@pytest.mark.parametrize(
    ("axis", "words"),
    [
        ("updates", "updates"),
        ("time", "simulated time (s)"),
        ("rounds", "rounds (neither equal time nor equal work)"),
    ],
)
def test_the_axis_says_what_is_compared(
    axis: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    axes = drawn(tmp_path / "x.png", monkeypatch, axis=axis)
    assert (axes.get_xlabel(), axes.get_ylabel()) == (words, "loss")


def test_a_missing_matplotlib_is_said_before_anything_is_simulated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plot, "find_spec", lambda _name: None)

    with pytest.raises(InvalidInputError, match=r"pip install -e '\.\[plot\]'"):
        simulated(tmp_path, **OPTIONS, plot=True)
    assert list(tmp_path.iterdir()) == []

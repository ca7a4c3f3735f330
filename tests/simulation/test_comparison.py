"""Facts about runs that are compared: at equal work or equal time, and over seeds."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from named_events import named
from rich.console import Console

from fanfold.api.round_rules import rounds_of
from fanfold.coordinator.persistence.records import records_of
from fanfold.schemas.errors import InvalidInputError
from fanfold.schemas.events.commands import Compared
from fanfold.simulation.comparison import compare
from fanfold.simulation.curves import Curve, band_of, curve_of
from fanfold.simulation.outcome import SimulationResult
from fanfold.simulation.settings import SimulationSettings
from fanfold.simulation.simulate import run
from fanfold.views.comparison_table import comparison_table
from fanfold.views.sentences import sentence

TASK = "tests.simulation.test_simulation:Line"


def simulated(
    out: Path, **options: Any
) -> tuple[dict[str, SimulationResult], list[tuple[str, dict[str, Any]]]]:
    """Simulate, and return the results and what was said."""
    own = {"plot": False, "participants": 4, "speeds": "lognormal:1.0", "out": out}
    rounds = {"task": TASK, "rounds": "3", "lr": "0.01"}
    for name, value in options.items():
        (own if name in SimulationSettings.model_fields else rounds)[name] = value
    own["mode"] = own.get("mode", ("sync",))
    settings = SimulationSettings.model_validate(own)
    said: list[tuple[str, dict[str, Any]]] = []
    results = run(
        settings,
        lambda mode: rounds_of(mode, settings, rounds),
        say=lambda event: said.append(named(event)),
        on_ready=lambda _stop: None,
    )
    return results, said


def all_of(said: list[tuple[str, dict[str, Any]]], event: str) -> list[dict[str, Any]]:
    return [fields for name, fields in said if name == event]


def test_modes_get_equally_many_updates_and_evaluations(tmp_path: Path) -> None:
    """Three rounds of four are twelve updates, however many make a round of each mode."""
    results, said = simulated(tmp_path, mode=("all",), goal="2")
    assert {name: (each.rounds, each.updates) for name, each in results.items()} == {
        "sync": (3, 12),
        "buffered": (6, 12),
        "async": (12, 12),
        "exact": (12, 12),
    }
    (compared,) = all_of(said, "compared")
    assert (compared["metric"], compared["place"]) == ("loss", "12 updates")
    assert [each["mode"] for each in compared["runs"]] == ["sync", "buffered", "async", "exact"]


def test_with_an_end_by_the_clock_modes_are_compared_at_equal_time(tmp_path: Path) -> None:
    results, said = simulated(tmp_path, mode=("sync", "async"), simulated_hours=0.1, rounds="99999")
    (compared,) = all_of(said, "compared")
    assert {result.seconds for result in results.values()} == {360.0}
    assert compared["place"] == "360 simulated seconds"


def test_equal_rounds_are_compared_only_with_a_warning(tmp_path: Path) -> None:
    results, said = simulated(tmp_path, mode=("sync", "async"), compare="rounds")
    assert [each.updates for each in results.values()] == [12, 3]
    (compared,) = all_of(said, "compared")
    assert compared["place"] == "3 rounds, which are neither equal time nor equal work"


def test_every_seed_is_the_run_that_it_is_alone(tmp_path: Path) -> None:
    """Each in a folder of its own."""
    results, said = simulated(tmp_path / "seeds", seeds="0,2")
    assert [*results] == ["sync/seed-0", "sync/seed-2"]
    alone, _ = simulated(tmp_path / "alone", seed="2")
    history = results["sync/seed-2"].history
    assert history.parent == tmp_path / "seeds" / "sync" / "seed-2"
    assert history.read_bytes() == alone["sync"].history.read_bytes()
    assert [each["seed"] for each in all_of(said, "run_started")] == [0, 2]
    (compared,) = all_of(said, "compared")
    last = [[*records_of(result.history)][-1]["loss"] for result in results.values()]
    (row,) = compared["runs"]
    assert compared["place"] == "their ends"
    assert (row["seeds"], row["lowest"], row["highest"]) == (2, min(last), max(last))


def told(*values: float | None, event: str | None = None) -> list[dict[str, Any]]:
    """Return rounds of two updates and five seconds, each with an accuracy."""
    records: list[dict[str, Any]] = [
        {"event": "round_closed", "seconds": 5.0, "updates": 2, "loss": None, "accuracy": value}
        for value in values
    ]
    return [*records, {"event": event}] if event else records


def test_a_curve_has_the_measured_versions_and_a_longer_run_is_cut() -> None:
    short = told(0.1, None, 0.5)
    longer = told(0.1, 0.2, 0.3, 0.9)
    assert curve_of(short, "time", "accuracy") == Curve([5.0, 15.0], [0.1, 0.5], end=15.0)
    assert curve_of(short, "updates", "accuracy").at == [2, 6]
    compared = compare({"a": [short, longer]}, "updates", "accuracy")
    assert compared is not None
    assert compared.place == "6 updates"
    (row,) = compared.runs
    assert (row["mean"], row["lowest"], row["highest"]) == pytest.approx((0.4, 0.3, 0.5))
    assert row["deviation"] == pytest.approx(np.std([0.3, 0.5], ddof=1))


def test_a_run_that_a_metric_ended_keeps_its_last_value() -> None:
    ended = told(0.9, event="ends_early")
    longer = told(0.1, 0.2, 0.3)
    compared = compare({"a": [ended], "b": [longer]}, "updates", "accuracy")
    assert compared is not None
    assert [compared.place, *(row["mean"] for row in compared.runs)] == ["6 updates", 0.9, 0.3]


def test_nothing_is_compared_that_some_run_did_not_measure() -> None:
    known, unknown = told(0.9), told(None)
    assert compare({"a": [known], "b": [unknown]}, "updates", "accuracy") is None


def test_a_band_is_where_all_curves_are() -> None:
    one = Curve([1.0, 3.0], [0.0, 1.0], end=9.0)
    other = Curve([2.0, 5.0], [1.0, 4.0], end=9.0)
    band = band_of([one, other])
    assert band.at == [2.0, 3.0]
    assert band.mean == pytest.approx([0.75, 1.5])
    assert band.deviation == pytest.approx([np.std([0.5, 1.0], ddof=1), np.std([1, 2], ddof=1)])


ROW = {"seeds": 5, "mean": 0.9, "deviation": 0.01, "lowest": 0.88, "highest": 0.91}
COMPARED = Compared(
    metric="accuracy",
    place="12 updates",
    runs=({"mode": "sync", **ROW}, {"mode": "async", **ROW, "seeds": 1}),
)


def test_a_comparison_is_a_line_and_a_table() -> None:
    assert sentence(COMPARED) == (
        "accuracy at 12 updates: sync 0.9000 ± 0.0100 (5 seeds, 0.8800 to 0.9100); async 0.9000"
    )
    console = Console(width=70, record=True, file=io.StringIO())
    console.print(comparison_table(COMPARED))
    rows = [line.split("│") for line in console.export_text().splitlines() if "│" in line]
    cells = [[cell.strip() for cell in row if cell.strip()] for row in rows]
    assert ["sync", "5", "0.9000", "0.0100", "0.8800", "0.9100"] in cells
    assert ["async", "1", "0.9000", "-", "-", "-"] in cells


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"seeds": "4-0"}, "--seeds '4-0' is no list of numbers; write 0-4 or 0,2,5-7"),
        ({"seeds": "0-4", "seed": "1"}, "--seeds names the seeds of all runs; leave --seed out"),
        (
            {"mode": ("sync", "async"), "compare": "time"},
            "--compare time of several modes needs --simulated-hours",
        ),
        (
            {"mode": ("sync", "async"), "compare": "updates", "simulated_hours": 1},
            "--compare updates of several modes cannot be had with --simulated-hours",
        ),
    ],
)
def test_what_cannot_be_compared_is_refused(
    options: dict[str, Any], sentence: str, tmp_path: Path
) -> None:
    with pytest.raises(InvalidInputError, match=sentence):
        simulated(tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()

"""`fanfold report`: what it reads from a history, and what it writes."""

import csv
import re
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from matplotlib import image
from report_history import RECORDS, a_round, closed, update, write

from fanfold.cli.commands import main
from fanfold.monitoring.event_log import EventLog
from fanfold.report import report as module
from fanfold.report.charts import chart, ticks
from fanfold.report.page import clock_unit, duration
from fanfold.runs.run_data import gathered
from fanfold.schemas.events.coordinator import RunStarted


def report(*arguments: str, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr("sys.argv", ["fanfold", "report", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


def test_a_history_says_who_gave_what_and_what_did_not_count() -> None:
    """A round that was told twice counts once, and pauses belong to the clock."""
    data = gathered(RECORDS)
    aarhus, bergen = data.participants.values()
    assert (aarhus.updates, aarhus.examples, aarhus.mean_staleness) == (2, 400, 0.0)
    assert (bergen.updates, bergen.examples, bergen.mean_staleness) == (1, 100, 1.0)
    assert (bergen.refused_rounds, bergen.refusal[:6]) == (1, "norm 9")
    assert aarhus.metrics["f1"] == [(0, 0.5), (1, 0.6)]
    assert data.refused == {"stale": 2}
    assert data.metrics == {"loss": [(0, 1.0), (1, 0.5)], "auc": [(0, 0.5), (1, 0.75)]}
    assert data.elapsed == [10.0, 30.0]
    assert (data.starts, data.is_over) == (2, False)


def test_a_region_stands_there_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With how many participants' updates its newest sum holds."""
    summed = update("north", 0, 0, 400, 0.5) | {"updates": 12}
    run = write(tmp_path / "run", RECORDS[0], a_round(1, 10, summed), closed(1, 10, 1.0))
    assert report(str(run), "--no-plot", monkeypatch=monkeypatch) == 0
    assert "(region of 12 participants)" in (run / "report.html").read_text()


def test_a_round_that_a_crash_undid_gives_its_updates_once() -> None:
    """It stands in the history twice."""
    twice = a_round(1, 10, update("aarhus", 0, 0, 400, 0.5))
    assert gathered((RECORDS[0], twice, twice)).participants["aarhus"].updates == 1


def test_a_run_is_over_with_its_last_round_or_for_a_reason() -> None:
    assert gathered((*RECORDS, closed(3, 40, 0.1))).is_over
    early = gathered((*RECORDS, {"event": "ends_early", "version": 2, "reason": "good enough"}))
    assert (early.is_over, early.end) == (True, "good enough")


def test_a_report_is_a_page_a_picture_and_two_tables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of a run that goes on, too; its files are left as they are."""
    run = write(tmp_path / "run")
    before = (run / "history.jsonl").read_bytes()
    assert report(str(run), "--out", str(tmp_path / "out"), monkeypatch=monkeypatch) == 0
    assert "the report of 2 rounds is in" in capsys.readouterr().out
    assert [each.name for each in run.iterdir()] == ["history.jsonl"]
    assert (run / "history.jsonl").read_bytes() == before
    assert image.imread(tmp_path / "out" / "report.png").std() > 0.05
    rounds, updates = (
        list(csv.DictReader((tmp_path / "out" / f"{name}.csv").read_text().splitlines()))
        for name in ("rounds", "updates")
    )
    assert [row["auc"] for row in rounds] == ["0.5", "0.75"]
    assert [row["participant"] for row in updates] == ["aarhus", "aarhus", "bergen"]


def test_a_page_needs_nothing_from_elsewhere_and_believes_no_name(tmp_path: Path) -> None:
    """No address of another machine, no script; what is in the history is text."""
    settings = module.ReportSettings(plot=False)
    page = module.report(write(tmp_path), settings, say=lambda _event: None).page
    html = Path(page).read_text()
    links = re.findall(r"""(?:src|href)\s*=\s*["']([^"']*)|url\(([^)]*)\)""", html)
    assert [each for pair in links for each in pair if urlsplit(each).netloc] == []
    assert "http" not in html
    assert "<script" not in html
    assert "Run &lt;r1&gt;" in html
    assert "norm 9 is above --max-update-norm 5" in html


def test_a_page_says_whether_somebody_is_at_work_on_a_run_that_is_not_over(tmp_path: Path) -> None:
    """As the lock on its events tells; a killed coordinator holds none."""
    folder = write(tmp_path)

    def state() -> str:
        settings = module.ReportSettings(plot=False)
        page = module.report(folder, settings, say=lambda _event: None).page
        html = Path(page).read_text()
        return html.partition('<span class="state">')[2].partition("</span>")[0]

    with EventLog(folder, lambda: datetime.now(UTC)) as log:
        log.take(RunStarted("clinics", "r1", epoch=1, version=0, rounds=3, task="t"))
        assert state() == "goes on"
    assert state() == "not finished, and no coordinator is at work on it"


@pytest.mark.parametrize(
    ("records", "sentence"),
    [
        (RECORDS[:1], "no round of the run in .* has closed yet; try again after the first one"),
        (None, "holds no history.jsonl; name the folder that a run was given as --out"),
    ],
)
def test_where_there_is_no_run_yet_a_sentence_says_so(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    records: tuple[dict[str, object], ...] | None,
    sentence: str,
) -> None:
    """With exit code 2, and nothing is written."""
    if records is not None:
        write(tmp_path, *records)
    before = sorted(tmp_path.iterdir())
    assert report(str(tmp_path), monkeypatch=monkeypatch) == 2
    (message,) = capsys.readouterr().err.splitlines()
    assert re.search(sentence, message)
    assert sorted(tmp_path.iterdir()) == before


def test_a_report_is_of_one_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A folder of several is refused, and they are named."""
    write(tmp_path / "sync")
    write(tmp_path / "async")
    assert report(str(tmp_path), monkeypatch=monkeypatch) == 2
    assert f"name one of them: {tmp_path / 'async'}, {tmp_path / 'sync'}" in capsys.readouterr().err


def test_without_matplotlib_all_but_the_picture_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The installation for the demo has none; a line says what is left out."""
    monkeypatch.setattr(module, "find_spec", lambda _name: None)
    write(tmp_path)
    assert report(str(tmp_path), monkeypatch=monkeypatch) == 0
    assert "report.png is left out, because it needs matplotlib" in capsys.readouterr().out
    assert {each.name for each in tmp_path.glob("*.*")} == {
        "history.jsonl",
        "report.html",
        "rounds.csv",
        "updates.csv",
    }
    assert report(str(tmp_path), "--no-plot", monkeypatch=monkeypatch) == 0
    assert "report.png" not in capsys.readouterr().out


def test_ticks_are_round_numbers() -> None:
    """They enclose the values, or stand inside; versions are whole."""
    assert ticks(0.03, 0.97) == [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    assert ticks(0, 40, inside=True, least_step=1) == [0, 10, 20, 30, 40]
    assert ticks(0, 2, inside=True, least_step=1) == [0, 1, 2]


def test_a_chart_of_one_value_is_a_dot_in_the_middle() -> None:
    """No division by a range that is empty."""
    (line,) = chart({"loss": [(1, 0.5)]}, x_label="version").lines
    assert (line.dots[0].x, line.dots[0].label) == (50.0, "loss: 0.5 at 1")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0362, "0.0362 s"), (179, "179 s"), (3600, "60 min"), (4e5, "4.63 days")],
)
def test_a_duration_is_told_in_the_unit_that_suits_it(seconds: float, text: str) -> None:
    assert duration(seconds) == text
    assert text.endswith(clock_unit(seconds)[0])

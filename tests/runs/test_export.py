"""Facts about histories as tables."""

import csv
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from fanfold.cli.commands import main
from fanfold.runs import export as module
from fanfold.runs.tables import table_of
from fanfold.schemas.errors import InvalidInputError

UPDATE = {"participant": "a", "base_version": 0, "staleness": 0, "num_examples": 5, "weight": 1.0}


def record(event: str, **fields: Any) -> dict[str, Any]:
    return {"event": event, "time": "1970-01-01T00:00:04.000Z", **fields, "chain": "0f"}


def closed(number: int, **fields: Any) -> dict[str, Any]:
    return record("round_closed", round=number, updates=1, loss=None, seconds=2.0) | fields


def history(folder: Path, *records: dict[str, Any], seed: int = 0, tail: str = "") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    start = record("started", run="r", settings={"mode": "sync", "seed": seed})
    lines = [json.dumps(each) + "\n" for each in (start, *records)]
    (folder / "history.jsonl").write_text("".join(lines) + tail)
    return folder


def exported(*arguments: str, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr("sys.argv", ["fanfold", "export", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


def test_a_row_for_each_round_with_a_column_for_each_metric(tmp_path: Path) -> None:
    """A line that is being written, and a round that was told twice, do no harm."""
    first = closed(1, loss=0.5, metrics={"loss": 0.5, "f1": 0.25}, shares={"a": 1.0})
    rows = table_of(history(tmp_path, first, first, closed(2), tail='{"event": "rou'), "rounds")
    assert [row["round"] for row in rows] == [1, 2]
    assert rows[0] == {
        "folder": ".",
        "run": "r",
        "mode": "sync",
        "seed": 0,
        "time": "1970-01-01T00:00:04.000Z",
        "round": 1,
        "updates": 1,
        "loss": 0.5,
        "seconds": 2.0,
        "shares": '{"a": 1.0}',
        "f1": 0.25,
    }
    assert rows[0].keys() == rows[1].keys()
    assert (rows[1]["f1"], rows[1]["shares"]) == (None, None)


def test_a_metric_with_the_name_of_another_column_is_called_a_metric(tmp_path: Path) -> None:
    (row,) = table_of(history(tmp_path, closed(1, metrics={"seconds": 9.0})), "rounds")
    assert (row["seconds"], row["metric_seconds"]) == (2.0, 9.0)


def test_a_row_for_each_update_says_who_gave_what(tmp_path: Path) -> None:
    updates = [UPDATE | {"metrics": {"loss": 0.5}}, UPDATE | {"participant": "b", "metrics": {}}]
    rows = table_of(history(tmp_path, record("round", round=1, updates=updates)), "updates")
    assert [(row["round"], row["participant"], row["loss"]) for row in rows] == [
        (1, "a", 0.5),
        (1, "b", None),
    ]


def test_sums_of_regions_say_how_many_updates_they_hold(tmp_path: Path) -> None:
    """A round in `single_updates`, those who sent sums in `updates`; others have none of it."""
    updates = [UPDATE | {"participant": "north", "updates": 3}, UPDATE | {"participant": "b"}]
    both = closed(1, updates=2, single_updates=4)
    folder = history(tmp_path, record("round", round=1, updates=updates), both, closed(2))
    rounds, parts = table_of(folder, "rounds"), table_of(folder, "updates")
    assert [(row["updates"], row["single_updates"]) for row in rounds] == [(2, 4), (1, None)]
    assert [(row["participant"], row["updates"]) for row in parts] == [("north", 3), ("b", None)]


def test_a_folder_of_several_runs_is_one_table(tmp_path: Path) -> None:
    for seed in (0, 1):
        history(tmp_path / "sync" / f"seed-{seed}", closed(1), seed=seed)
    rows = table_of(tmp_path, "rounds")
    assert [(row["folder"], row["seed"]) for row in rows] == [
        ("sync/seed-0", 0),
        ("sync/seed-1", 1),
    ]


def test_csv_opens_in_any_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    history(tmp_path, closed(1, loss=0.5), closed(2))
    assert exported(str(tmp_path), monkeypatch=monkeypatch) == 0
    with (tmp_path / "rounds.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["round"], row["loss"]) for row in rows] == [("1", "0.5"), ("2", "")]


def test_parquet_keeps_times_and_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A number that is an integer in one row and not in another is a double in both."""
    history(tmp_path, closed(1, loss=1), closed(2, loss=0.5), closed(3))
    out = tmp_path / "table.parquet"
    flags = ["--format", "parquet", "--out", str(out)]
    assert exported(str(tmp_path), *flags, monkeypatch=monkeypatch) == 0
    table = parquet.read_table(out)
    assert table["loss"].to_pylist() == [1.0, 0.5, None]
    assert table.schema.field("round").type == pa.int64()
    assert table["time"].to_pylist()[0] == datetime(1970, 1, 1, 0, 0, 4, tzinfo=UTC)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["nowhere"], "nowhere holds no history.jsonl; name the folder that a run was given"),
        (["run", "--format", "xlsx"], "--format 'xlsx' must be 'csv' or 'parquet'"),
        (["run", "--out", "no/such/folder.csv"], "no/such/folder.csv cannot be written"),
    ],
)
def test_what_cannot_be_exported_is_told(
    arguments: list[str],
    sentence: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    history(tmp_path / "run", closed(1))
    assert exported(*arguments, monkeypatch=monkeypatch) == 2
    assert sentence in capsys.readouterr().err


def test_without_pyarrow_parquet_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "find_spec", lambda _name: None)
    settings = module.ExportSettings(format="parquet")
    with pytest.raises(InvalidInputError, match=r"pip install -e '\.\[parquet\]'"):
        module.export(history(tmp_path, closed(1)), settings)

"""A run's history as a table of plain values: a row for each round, or for each update.

A folder may hold one run or many, as that of a simulation of several modes and seeds does. Every
row says which run it belongs to: `folder` (below the one that was named), `run`, `mode` and `seed`.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from fanfold.coordinator.persistence.history import HISTORY
from fanfold.coordinator.persistence.records import records_of
from fanfold.runs.settings import TableName
from fanfold.schemas.errors import InvalidInputError

Row = dict[str, Any]
WHICH_RUN = ("folder", "run", "mode", "seed")


def table_of(folder: Path, name: TableName) -> list[Row]:
    """Return the rows of all runs in a folder, oldest first; all have the same columns.

    Metrics have columns of their names, after those of every history; what a row does not have is
    None.

    Raises:
        InvalidInputError: if there is no history, or one that cannot be read.
    """
    rows: list[Row] = []
    metrics: set[str] = set()
    for path in histories(folder):
        for row, measured in _rows(path, folder, name):
            rows.append(row | {f"metric {each}": value for each, value in measured.items()})
            metrics |= measured.keys()
    own = list(dict.fromkeys(column for row in rows for column in row if " " not in column))
    columns = {column: column for column in own}
    for each in sorted(metrics):
        columns[f"metric {each}"] = f"metric_{each}" if each in own else each
    return [{name: row.get(key) for key, name in columns.items()} for row in rows]


def histories(folder: Path) -> list[Path]:
    """Return the histories in a folder and below it.

    Raises:
        InvalidInputError: if there is none.
    """
    found = sorted(folder.rglob(HISTORY))
    if not found:
        raise InvalidInputError(
            f"{folder} holds no {HISTORY}; name the folder that a run was given as --out"
        )
    return found


def _rows(path: Path, root: Path, name: TableName) -> Iterator[tuple[Row, Mapping[str, float]]]:
    """Yield each row of a history with its metrics, without those that have columns already."""
    which: Row = dict.fromkeys(WHICH_RUN)
    which["folder"] = str(path.parent.relative_to(root))
    for record in records_of(path):
        event = record.pop("event")
        if event == "started":
            settings = record["settings"]
            which |= {"run": record["run"], "mode": settings["mode"], "seed": settings["seed"]}
        elif name == "rounds" and event == "round_closed":
            metrics = {
                each: value
                for each, value in (record.pop("metrics", None) or {}).items()
                if each not in {"loss", "accuracy"}
            }
            yield which | {each: _plain(value) for each, value in record.items()}, metrics
        elif name == "updates" and event == "round":
            for update in record["updates"]:
                measured = update.pop("metrics", None) or {}
                plain = {each: _plain(value) for each, value in update.items()}
                yield (
                    which | {"round": record["round"], "time": record.get("time")} | plain,
                    measured,
                )


def _plain(value: Any) -> Any:
    """Return a value that fits into a cell: what is nested becomes JSON."""
    return json.dumps(value) if isinstance(value, dict | list) else value

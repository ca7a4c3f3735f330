"""Writes a run's history as a table for other programs: CSV, or Parquet with its types."""

import csv
from collections.abc import Sequence
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from fanfold.runs.settings import ExportSettings
from fanfold.runs.tables import Row, table_of
from fanfold.schemas.errors import InvalidInputError, how_to_install
from fanfold.schemas.events.commands import Exported


def export(folder: Path, settings: ExportSettings) -> Exported:
    """Write the table, and return what was written.

    Raises:
        InvalidInputError: if there is no run, the file cannot be written, or pyarrow is missing.
    """
    if settings.format == "parquet" and find_spec("pyarrow") is None:
        raise InvalidInputError(
            f"--format parquet needs pyarrow: take --format csv, or {how_to_install('parquet')}"
        )
    rows = table_of(folder, settings.table)
    path = settings.out or folder / f"{settings.table}.{settings.format}"
    try:
        if settings.format == "csv":
            _write_csv(path, rows)
        else:
            _write_parquet(path, rows)
    except OSError as error:
        raise InvalidInputError(
            f"{path} cannot be written ({error.strerror}); name another file with --out"
        ) from None
    return Exported(file=str(path), rows=len(rows), columns=tuple(rows[0]) if rows else ())


def _write_csv(path: Path, rows: Sequence[Row]) -> None:
    """Write UTF-8 with a line of names; what is None is empty."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]) if rows else [])
        writer.writeheader()
        writer.writerows(rows)


def _write_parquet(path: Path, rows: Sequence[Row]) -> None:
    """Write a file in which `time` is a time, and numbers are int64 or double."""
    import pyarrow as pa  # noqa: PLC0415 - an extra, and slow to import
    from pyarrow import parquet  # noqa: PLC0415 - as above

    columns = {
        name: [_typed(name, row[name]) for row in rows] for name in (rows[0] if rows else ())
    }
    arrays = {name: pa.array(_one_type(values)) for name, values in columns.items()}
    parquet.write_table(pa.table(arrays), path)


def _typed(name: str, value: Any) -> Any:
    return datetime.fromisoformat(value) if name == "time" and value is not None else value


def _one_type(values: list[Any]) -> list[Any]:
    """Return integers as floats where both are in one column."""
    if any(isinstance(value, float) for value in values):
        return [float(value) if isinstance(value, int) else value for value in values]
    return values

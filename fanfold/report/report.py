"""Writes a report of a run: page, picture and tables in one folder."""

from importlib.util import find_spec
from pathlib import Path

from fanfold.monitoring.event_log import EVENTS, is_written
from fanfold.report.page import page
from fanfold.report.picture import draw
from fanfold.report.settings import ReportSettings
from fanfold.runs.export import export
from fanfold.runs.run_data import read_run
from fanfold.runs.settings import ExportSettings, TableName
from fanfold.runs.tables import histories
from fanfold.schemas.errors import InvalidInputError
from fanfold.schemas.events.commands import PictureLeftOut, ReportWritten
from fanfold.schemas.events.event import Say

TABLES: tuple[TableName, ...] = ("rounds", "updates")
PAGE, PICTURE = "report.html", "report.png"


def report(run: Path, settings: ReportSettings, *, say: Say) -> ReportWritten:
    """Write the report, and return what was written. A run that goes on is not disturbed.

    Raises:
        InvalidInputError: if there is no run or no round yet, or the folder cannot be written to.
    """
    can_draw = find_spec("matplotlib") is not None
    data = read_run(run)
    folder = settings.out or run
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / PAGE).write_text(page(data, is_alive=_is_alive(run)), encoding="utf-8")
        if settings.plot and can_draw:
            draw(data, folder / PICTURE)
    except OSError as error:
        raise InvalidInputError(
            f"{folder} cannot be written to ({error.strerror}); name another folder with --out"
        ) from None
    if settings.plot and not can_draw:
        say(PictureLeftOut(str(folder / PICTURE)))
    tables = [
        export(
            run,
            ExportSettings(format="csv", table=table, out=folder / f"{table}.csv", mlflow=None),
        ).file
        for table in TABLES
    ]
    return ReportWritten(
        page=str(folder / PAGE),
        picture=str(folder / PICTURE) if settings.plot and can_draw else None,
        tables=tuple(tables),
        rounds=len(data.rounds),
    )


def _is_alive(run: Path) -> bool | None:
    """Return whether a coordinator is at work on a run; None where it keeps no events."""
    events = histories(run)[0].parent / EVENTS
    return is_written(events) if events.exists() else None

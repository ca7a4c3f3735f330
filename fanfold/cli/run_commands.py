"""The commands that read the folder of a run: `fanfold export`, `fanfold report`, `fanfold page`.

Commands import what they need only when they run, so that `--help` answers at once.
"""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from fanfold.api.reading import read
from fanfold.cli.help import GroupedCommand
from fanfold.cli.options import options_of
from fanfold.cli.signals import exit_code, stop_on_signals
from fanfold.page.settings import PageSettings
from fanfold.report.settings import ReportSettings
from fanfold.runs.settings import ExportSettings
from fanfold.views.view import JsonView, LinesView


def add_to(app: typer.Typer) -> None:
    """Add these commands to the program."""
    for command in (export, report, page):
        app.command(cls=GroupedCommand)(command)


@options_of(ExportSettings)
def export(
    run: Annotated[Path, typer.Argument(help="Folder that a run or simulation had as --out.")],
    *,
    json: Annotated[
        bool, typer.Option("--json", help="One JSON object per line on standard output.")
    ] = False,
    **options: Any,
) -> None:
    """Write the history of a run, or of all runs below a folder, as a CSV or Parquet table."""
    from fanfold.runs.export import export as export_run  # noqa: PLC0415 - see above

    settings = read(ExportSettings, options)
    with JsonView() if json else LinesView() as view:
        view.say(export_run(run, settings))


@options_of(ReportSettings)
def report(
    run: Annotated[Path, typer.Argument(help="Folder that a run had as --out; it may go on.")],
    *,
    json: Annotated[
        bool, typer.Option("--json", help="One JSON object per line on standard output.")
    ] = False,
    **options: Any,
) -> None:
    """Write a page, a picture and tables of a run: metrics, who gave what, what was refused."""
    from fanfold.report.report import report as write_report  # noqa: PLC0415 - see above

    settings = read(ReportSettings, options)
    with JsonView() if json else LinesView() as view:
        view.say(write_report(run, settings))


@options_of(PageSettings)
def page(
    folder: Annotated[
        Path, typer.Argument(help="Folder that a run had as --out, or that holds several of them.")
    ],
    *,
    json: Annotated[
        bool, typer.Option("--json", help="One JSON object per line on standard output.")
    ] = False,
    **options: Any,
) -> None:
    """Show runs in a browser as they go: who is at work, late or refused, curves, models."""
    from fanfold.page.serving import serve  # noqa: PLC0415 - see above

    settings = read(PageSettings, options)
    with JsonView() if json else LinesView() as view:
        serve(folder, settings, say=view.say, on_ready=stop_on_signals)
    sys.exit(exit_code(0))

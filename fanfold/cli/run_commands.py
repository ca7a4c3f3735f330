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
from fanfold.cli.showing import Json, view_of
from fanfold.cli.signals import exit_code, stop_on_signals
from fanfold.page.settings import PageSettings
from fanfold.report.settings import ReportSettings
from fanfold.runs.settings import ExportSettings
from fanfold.schemas.errors import InvalidInputError


def add_to(app: typer.Typer) -> None:
    """Add these commands to the program."""
    for command in (export, report, page):
        app.command(cls=GroupedCommand)(command)
    app.command(name="page-user", cls=GroupedCommand)(page_user)


@options_of(ExportSettings)
def export(
    run: Annotated[
        Path, typer.Argument(metavar="RUN", help="Folder that a run or simulation had as --out.")
    ],
    *,
    json: Json = False,
    **options: Any,
) -> None:
    """Write a run's history as a CSV or Parquet table, or the run with its models into MLflow."""
    from fanfold.registry.mlflow_export import export_to_mlflow  # noqa: PLC0415 - see above
    from fanfold.runs.export import export as export_run  # noqa: PLC0415 - see above

    settings = read(ExportSettings, options)
    with view_of(json=json) as view:
        if settings.mlflow is None:
            view.say(export_run(run, settings))
        else:
            view.say(export_to_mlflow(run, settings.mlflow))


@options_of(ReportSettings)
def report(
    run: Annotated[
        Path, typer.Argument(metavar="RUN", help="Folder that a run had as --out; it may go on.")
    ],
    *,
    json: Json = False,
    **options: Any,
) -> None:
    """Write a page, a picture and tables of a run: metrics, who gave what, what was refused."""
    from fanfold.report.report import report as write_report  # noqa: PLC0415 - see above

    settings = read(ReportSettings, options)
    with view_of(json=json) as view:
        view.say(write_report(run, settings, say=view.say))


@options_of(PageSettings)
def page(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="DIR", help="Folder that a run had as --out, or that holds several of them."
        ),
    ],
    *,
    json: Json = False,
    **options: Any,
) -> None:
    """Show runs in a browser as they go: who is at work, late or refused, curves, models."""
    from fanfold.page.serving import serve  # noqa: PLC0415 - see above

    settings = read(PageSettings, options)
    with view_of(json=json) as view:
        serve(folder, settings, say=view.say, on_ready=stop_on_signals)
    sys.exit(exit_code(0))


def page_user(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="Under which somebody logs in at the page.")
    ],
    *,
    users: Annotated[
        Path, typer.Option(metavar="FILE", help="File of the page's users; made if need be.")
    ],
    role: Annotated[
        str, typer.Option(metavar="viewer|operator", help="An operator may also act.")
    ] = "viewer",
) -> None:
    """Add a user of the page, or change one; the password is asked for, or read from a pipe."""
    from fanfold.page.users import set_user  # noqa: PLC0415 - see above

    if role not in ("viewer", "operator"):
        raise InvalidInputError(f"--role {role!r} must be viewer or operator")
    if sys.stdin.isatty():
        password = typer.prompt(f"Password of {name}", hide_input=True, confirmation_prompt=True)
    else:
        password = sys.stdin.readline().rstrip("\n")
    set_user(users, name, "operator" if role == "operator" else "viewer", password)
    sys.stdout.write(f"{name} is a user of {users}: {role}\n")

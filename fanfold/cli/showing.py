"""How a command shows what happens: as JSON, as a table where there is a terminal, or in lines."""

import sys
from typing import Annotated

import typer
from rich.console import Console

from fanfold.views.live_view import LiveView
from fanfold.views.view import JsonView, LinesView, View

Json = Annotated[bool, typer.Option("--json", help="One JSON object per line on standard output.")]


def view_of(*, json: bool, log_format: str = "text", is_live: bool = False) -> View:
    """Return what shows the events of a command.

    Args:
        json: whether `--json` was given.
        log_format: of the command's settings; "json" asks for JSON, too.
        is_live: rounds are shown in a table, where a terminal can redraw it.
    """
    if json or log_format == "json":
        return JsonView()
    can_redraw = sys.stdout.isatty() and not Console().is_dumb_terminal
    return LiveView() if is_live and can_redraw else LinesView()

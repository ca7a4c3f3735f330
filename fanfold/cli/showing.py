"""How a command shows what happens: as JSON, as a table where there is a terminal, or in lines."""

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Annotated, Protocol

import typer
from rich.console import Console

from fanfold.local.parent_watch import end_with_parent
from fanfold.monitoring.endpoint import Endpoint, Watched
from fanfold.views.live_view import LiveView
from fanfold.views.view import JsonView, LinesView, View

Json = Annotated[bool, typer.Option("--json", help="One JSON object per line on standard output.")]


def prints_json(*, json: bool, log_format: str) -> bool:
    """Whether a command prints JSON: for `--json`, and where its log lines are JSON too."""
    return json or log_format == "json"


def view_of(*, json: bool, log_format: str = "text", is_live: bool = False) -> View:
    """Return what shows the events of a command.

    Args:
        json: whether `--json` was given.
        log_format: of the command's settings; "json" asks for JSON, too.
        is_live: rounds are shown in a table, where a terminal can redraw it.
    """
    if prints_json(json=json, log_format=log_format):
        return JsonView()
    can_redraw = sys.stdout.isatty() and not Console().is_dumb_terminal
    return LiveView() if is_live and can_redraw else LinesView()


class Service(Protocol):
    """What the settings of a program that stays say of who watches it."""

    @property
    def log_format(self) -> str:
        """Of its log lines, text or json."""

    @property
    def metrics_port(self) -> int | None:
        """Where it serves its metrics, if anywhere."""


@contextmanager
def watched(settings: Service, metrics: Watched, *, json: bool) -> Iterator[View]:
    """Show a service's events and serve its metrics; it ends with the process that started it.

    Args:
        settings: of the service.
        metrics: of the service.
        json: whether `--json` was given.

    Raises:
        InvalidInputError: if the port of the metrics cannot be used.
    """
    end_with_parent()
    with ExitStack() as stack:
        view = stack.enter_context(view_of(json=json, log_format=settings.log_format))
        if settings.metrics_port is not None:
            stack.enter_context(Endpoint(settings.metrics_port, metrics))
        yield view

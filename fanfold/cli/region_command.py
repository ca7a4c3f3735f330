"""`fanfold region`: the sums of one federation in the rounds of another."""

from pathlib import Path
from typing import Annotated, Any

import typer

from fanfold.api.reading import read, rereading
from fanfold.cli import logs
from fanfold.cli.help import GroupedCommand
from fanfold.cli.options import CredentialsFile, options_of
from fanfold.cli.showing import Json, watched
from fanfold.cli.signals import stop_on_signals
from fanfold.monitoring.endpoint import release
from fanfold.region.settings import (
    RegionSettings,
    rereading_above,
    with_credentials_above,
)
from fanfold.views.wall_clock import utc_now

UpstreamCredentialsFile = Annotated[
    Path | None,
    typer.Option(
        "--upstream-credentials",
        metavar="FILE",
        help="The same of this region as a participant of the federation above.",
    ),
]


def add_to(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command(cls=GroupedCommand)(region)


@options_of(RegionSettings)
def region(
    *,
    json: Json = False,
    credentials: CredentialsFile = None,
    upstream_credentials: UpstreamCredentialsFile = None,
    **options: Any,
) -> None:
    """Take part in one federation with the sums of another, whose rounds this coordinates."""
    given = with_credentials_above(options, upstream_credentials)
    settings = read(RegionSettings, given, credentials, role="coordinator")
    from fanfold.region.assembly import serve  # noqa: PLC0415 - it takes seconds
    from fanfold.region.metrics import RegionMetrics  # noqa: PLC0415 - it takes seconds

    logs.set_up(settings.log_format, federation=settings.federation)
    metrics = RegionMetrics(settings, version=release())
    with watched(settings, metrics, json=json) as view:
        serve(
            settings,
            say=view.say,
            on_ready=stop_on_signals,
            wall_clock=utc_now,
            observer=metrics.below,
            observer_above=metrics.above,
            reread=rereading(settings, given, credentials, role="coordinator"),
            reread_above=rereading_above(settings, options, upstream_credentials),
        )

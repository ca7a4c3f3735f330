"""`fanfold serve`, and what operators ask it.

Commands import what they need only when they run, so that `--help` answers at once.
"""

import json as json_text
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from fanfold.api.reading import read
from fanfold.cli import logs
from fanfold.cli.help import GroupedCommand
from fanfold.cli.options import CredentialsFile, options_of
from fanfold.cli.showing import Json, prints_json, watched
from fanfold.cli.signals import exit_code, stop_on_signals
from fanfold.coordinator.settings import RunSettings
from fanfold.monitoring.endpoint import release
from fanfold.operating.settings import OperatorSettings
from fanfold.registry.models import parse_parent, parse_wanted
from fanfold.schemas.names import check_identifier
from fanfold.schemas.operator_messages import Change, ChangeRun, ReadRuns, Request, SubmitRun
from fanfold.serving.settings import ServeSettings
from fanfold.views.wall_clock import utc_now

if TYPE_CHECKING:
    from fanfold.operating.client import OperatorClient


def _run_name(text: str) -> str:
    """Refuse what can be no name before anything is sent."""
    return check_identifier("the run's name", text)


RunName = Annotated[str, typer.Argument(metavar="RUN", help="Name of the run.", parser=_run_name)]


def add_to(app: typer.Typer) -> None:
    """Add these commands to the program."""
    for command in (serve, submit, runs, show, pause, go_on, stop, close_round, remove):
        app.command(cls=GroupedCommand)(command)
    for command in (pull, compare):
        app.command(cls=GroupedCommand)(command)


@options_of(ServeSettings)
def serve(*, json: Json = False, credentials: CredentialsFile = None, **options: Any) -> None:
    """Hold a federation: work off a queue of runs, and keep a registry of them."""
    settings = read(ServeSettings, options, credentials, role="coordinator")
    from fanfold.serving.assembly import serve as serve_runs  # noqa: PLC0415 - see above
    from fanfold.serving.metrics import ServiceMetrics  # noqa: PLC0415 - see above

    logs.set_up(settings.log_format, federation=settings.federation)
    metrics = ServiceMetrics(federation=settings.federation, version=release())
    with watched(settings, metrics, json=json) as view:
        serve_runs(
            settings,
            say=view.say,
            on_ready=stop_on_signals,
            wall_clock=utc_now,
            attach=metrics.attach,
        )
    sys.exit(exit_code(0))


@options_of(RunSettings, OperatorSettings)
def submit(
    *,
    json: Json = False,
    name: Annotated[
        str | None,
        typer.Option(
            "--name",
            metavar="NAME",
            help="Name of the run; by default one is made up.",
            parser=_run_name,
        ),
    ] = None,
    begin_from: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="RUN[@VERSION]",
            help="Begin from a version of another run: last (by default), best, or a number.",
        ),
    ] = None,
    priority: Annotated[
        int,
        typer.Option("--priority", metavar="N", help="Runs with a higher one are opened first."),
    ] = 0,
    credentials: CredentialsFile = None,
    **options: Any,
) -> None:
    """Put a run into the queue of `fanfold serve`; participants train it when it is opened."""
    given = {
        option: value
        for option, value in options.items()
        if option in RunSettings.model_fields and value is not None and value != ()
    }
    read(RunSettings, given)  # mistakes are told before anything is sent
    parent, version = (None, "last") if begin_from is None else parse_parent(begin_from)
    settings = _settings(options, credentials)
    with _client(settings) as client:
        run = client.ask(
            lambda ids: SubmitRun.model_validate(
                {
                    **ids,
                    "name": name,
                    "parent": parent,
                    "parent_version": version,
                    "priority": priority,
                    "options": given,
                }
            )
        ).document
    _tell(run, json=prints_json(json=json, log_format=settings.log_format))


@options_of(OperatorSettings)
def runs(*, json: Json = False, credentials: CredentialsFile = None, **options: Any) -> None:
    """List the runs of a federation: those that wait, that are open, and that are over."""
    from fanfold.operating.show import show_runs  # noqa: PLC0415 - see above

    settings = _settings(options, credentials)
    with _client(settings) as client:
        found = client.ask(lambda ids: ReadRuns(**ids, runs=[])).document
    if prints_json(json=json, log_format=settings.log_format):
        _print(*found)
    else:
        show_runs(found, Console())


@options_of(OperatorSettings)
def show(
    run: RunName, *, json: Json = False, credentials: CredentialsFile = None, **options: Any
) -> None:
    """Show a run: where it stands, who took part, who declined and why, and its models."""
    from fanfold.operating.show import show_run  # noqa: PLC0415 - see above

    settings = _settings(options, credentials)
    with _client(settings) as client:
        (found,) = client.ask(_reading(run)).document
    if prints_json(json=json, log_format=settings.log_format):
        _print(found)
    else:
        show_run(found, Console())


@options_of(OperatorSettings)
def compare(
    run: RunName,
    other: Annotated[
        str, typer.Argument(metavar="RUN", help="Name of the other run.", parser=_run_name)
    ],
    *,
    json: Json = False,
    credentials: CredentialsFile = None,
    **options: Any,
) -> None:
    """Show two runs side by side: where their settings differ, and how good they are."""
    from fanfold.operating.comparison import compared  # noqa: PLC0415 - see above
    from fanfold.operating.show import show_comparison  # noqa: PLC0415 - see above

    settings = _settings(options, credentials)
    with _client(settings) as client:
        left, right = client.ask(_reading(run, other)).document
    comparison = compared(left, right)
    if prints_json(json=json, log_format=settings.log_format):
        _print(comparison)
    else:
        show_comparison(comparison, Console())


@options_of(OperatorSettings)
def pull(
    run: RunName,
    *,
    version: Annotated[
        str,
        typer.Option(
            "--version", metavar="VERSION", help="Which version: last, best, or a number."
        ),
    ] = "last",
    out: Annotated[
        Path, typer.Option("--out", metavar="FILE", help="File to write; its card lies beside it.")
    ] = Path("model.safetensors"),
    json: Json = False,
    credentials: CredentialsFile = None,
    **options: Any,
) -> None:
    """Fetch the model of a run, with a card that says where it comes from."""
    from fanfold.operating.pull import pull as pull_model  # noqa: PLC0415 - see above

    wanted = parse_wanted(version)
    settings = _settings(options, credentials)
    with _client(settings) as client:
        card = pull_model(client, run, wanted, out)
    if prints_json(json=json, log_format=settings.log_format):
        _print(card | {"file": str(out)})
    else:
        what = f"version {card['version']} of {run}"
        sys.stdout.write(f"{what} is in {out}; {out.with_suffix('.md')} is its card\n")


@options_of(OperatorSettings)
def pause(
    run: RunName, *, json: Json = False, credentials: CredentialsFile = None, **options: Any
) -> None:
    """Let a run wait: it commits what it has, and keeps its place for `fanfold go-on`."""
    _change("pause", run, options, credentials, json=json)


@options_of(OperatorSettings)
def go_on(
    run: RunName, *, json: Json = False, credentials: CredentialsFile = None, **options: Any
) -> None:
    """Let a paused run go on where it was, or try one that failed once more."""
    _change("go-on", run, options, credentials, json=json)


@options_of(OperatorSettings)
def stop(
    run: RunName, *, json: Json = False, credentials: CredentialsFile = None, **options: Any
) -> None:
    """End a run for good: its last version becomes its model."""
    _change("stop", run, options, credentials, json=json)


@options_of(OperatorSettings)
def close_round(
    run: RunName, *, json: Json = False, credentials: CredentialsFile = None, **options: Any
) -> None:
    """Let the open round of a run close as soon as its quorum is met, whatever its goal is."""
    _change("close-round", run, options, credentials, json=json)


@options_of(OperatorSettings)
def remove(
    run: RunName, *, json: Json = False, credentials: CredentialsFile = None, **options: Any
) -> None:
    """Remove a run that has no coordinator, with its history and its models."""
    _change("remove", run, options, credentials, json=json)


def _change(
    change: Change, run: str, options: dict[str, Any], credentials: Path | None, *, json: bool
) -> None:
    settings = _settings(options, credentials)
    with _client(settings) as client:
        changed = client.ask(
            lambda ids: ChangeRun.model_validate({**ids, "run": run, "change": change})
        ).document
    _tell(changed, json=prints_json(json=json, log_format=settings.log_format))


def _reading(*names: str) -> Callable[[dict[str, str]], Request]:
    return lambda ids: ReadRuns.model_validate({**ids, "runs": list(names)})


def _settings(options: dict[str, Any], credentials: Path | None) -> OperatorSettings:
    settings = read(OperatorSettings, options, credentials, role="operator")
    logs.set_up(settings.log_format, federation=settings.federation)
    return settings


@contextmanager
def _client(settings: OperatorSettings) -> "Iterator[OperatorClient]":
    from fanfold.operating.client import OperatorClient  # noqa: PLC0415 - see above

    client = OperatorClient(settings)
    stop_on_signals(client.stop)
    with client:
        yield client


def _tell(run: dict[str, Any], *, json: bool) -> None:
    from fanfold.operating.show import state_sentence  # noqa: PLC0415 - see above

    if json:
        _print(run)
    else:
        sys.stdout.write(f"{state_sentence(run)}\n")


def _print(*documents: dict[str, Any]) -> None:
    for document in documents:
        sys.stdout.write(json_text.dumps(document) + "\n")

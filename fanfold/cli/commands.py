"""The command line: `fanfold local`, `coordinator`, `participant`, `check`, ...

Commands import what they need only when they run, because importing torch takes seconds.
"""

import sys
from contextlib import ExitStack
from typing import Annotated, Any

import typer
from rich.console import Console

from fanfold.api.reading import read, rereading
from fanfold.check.settings import CheckSettings
from fanfold.cli import (
    access_commands,
    identity_commands,
    logs,
    region_command,
    run_commands,
    service_commands,
)
from fanfold.cli.help import GroupedCommand
from fanfold.cli.options import CredentialsFile, options_of
from fanfold.cli.program import Program
from fanfold.cli.showing import Json, prints_json, view_of, watched
from fanfold.cli.signals import close_round_on_signal, end, end_now, exit_code, stop_on_signals
from fanfold.cli.usage import UsageError, is_help, said
from fanfold.coordinator.settings import CoordinatorSettings, RoundSettings
from fanfold.keeper.settings import KeeperSettings
from fanfold.local.parent_watch import end_with_parent
from fanfold.local.settings import LocalSettings
from fanfold.monitoring.endpoint import Endpoint, release
from fanfold.monitoring.status.settings import StatusSettings
from fanfold.monitoring.tensorboard import EventFile
from fanfold.monitoring.tracking.tracker import Tracker
from fanfold.participant.settings import ParticipantSettings
from fanfold.runs.settings import ReplaySettings
from fanfold.schemas.errors import FanfoldError, InvalidInputError, StoppedError, TransportError
from fanfold.schemas.events.event import Event
from fanfold.schemas.events.participant import SlotClaimed
from fanfold.simulation.settings import SimulationSettings
from fanfold.views.view import Beside, JsonView
from fanfold.views.wall_clock import utc_now

FAILED, WRONG_INPUT = 1, 2

app = typer.Typer(
    name="fanfold",
    cls=Program,
    no_args_is_help=True,
    rich_markup_mode=None,  # help texts hold colons and brackets that are no markup
    pretty_exceptions_enable=False,
)
Fresh = Annotated[
    bool, typer.Option("--fresh", help="Start a new run, even if --out holds a checkpoint.")
]


def _say_version(wanted: bool) -> None:
    if wanted:
        sys.stdout.write(f"fanfold {release()}\n")
        raise typer.Exit


Version = Annotated[
    bool,
    typer.Option(
        "--version", help="Show the version and exit.", callback=_say_version, is_eager=True
    ),
]
Watch = Annotated[bool, typer.Option("--watch", help="Show it again and again, until Ctrl-C.")]


@app.callback()
def program(*, _version: Version = False) -> None:
    """Asynchronous federated learning over RabbitMQ."""


@app.command(cls=GroupedCommand)
@options_of(LocalSettings)
def local(*, json: Json = False, fresh: Fresh = False, **options: Any) -> None:
    """Run a whole federation on this machine, on a private RabbitMQ unless --broker names one."""
    from fanfold.local.assembly import run  # noqa: PLC0415 - see above

    settings = read(LocalSettings, options | ({"resume": "no"} if fresh else {}))
    logs.set_up(settings.log_format)
    view = view_of(json=json, log_format=settings.log_format, is_live=True)
    is_read_by_people = not isinstance(view, JsonView)
    run(settings, view=view, shows_password=is_read_by_people, on_ready=stop_on_signals)


@app.command(cls=GroupedCommand)
@options_of(CoordinatorSettings)
def coordinator(
    *, json: Json = False, fresh: Fresh = False, credentials: CredentialsFile = None, **options: Any
) -> None:
    """Run the rounds of one federation: publish versions, aggregate updates, keep checkpoints."""
    options |= {"resume": "no"} if fresh else {}
    settings = read(CoordinatorSettings, options, credentials, role="coordinator")
    from fanfold.coordinator.assembly import serve  # noqa: PLC0415 - see above
    from fanfold.coordinator.metrics import CoordinatorMetrics  # noqa: PLC0415 - see above
    from fanfold.coordinator.observer import Observers  # noqa: PLC0415 - see above
    from fanfold.monitoring.event_log import EventLog  # noqa: PLC0415 - see above

    logs.set_up(settings.log_format, federation=settings.federation)
    end_with_parent()
    with ExitStack() as stack:
        view = view_of(json=json, log_format=settings.log_format, is_live=True)
        metrics = CoordinatorMetrics(federation=settings.federation, version=release())
        if settings.metrics_port is not None:
            stack.enter_context(Endpoint(settings.metrics_port, metrics))
        if settings.tensorboard is not None:
            view = Beside(view, stack.enter_context(EventFile(settings.tensorboard)).hear)
        if settings.track:
            rules = settings.model_dump(mode="json", include=set(RoundSettings.model_fields))
            tracker = Tracker(settings.track, settings.out, lambda _event: rules)
            view = Beside(view, stack.enter_context(tracker).hear)
        event_log = stack.enter_context(EventLog(settings.out, utc_now))
        view = stack.enter_context(Beside(view, event_log.take))
        outcome = serve(
            settings,
            say=view.say,
            on_ready=stop_on_signals,
            on_round=close_round_on_signal,
            observer=Observers(metrics, event_log),
            wall_clock=utc_now,
            reread=rereading(settings, options, credentials, role="coordinator"),
        )
        if outcome.is_finished:
            view.say(outcome.event())
    if not outcome.is_finished:
        end(exit_code(FAILED))


@app.command(cls=GroupedCommand)
@options_of(ParticipantSettings)
def participant(*, json: Json = False, credentials: CredentialsFile = None, **options: Any) -> None:
    """Take part in a federation with this machine's private data."""
    settings = read(ParticipantSettings, options, credentials, role="participant")
    from fanfold.participant.assembly import serve  # noqa: PLC0415 - see above
    from fanfold.participant.metrics import ParticipantMetrics  # noqa: PLC0415 - see above

    logs.set_up(settings.log_format, federation=settings.federation, participant=settings.id)
    metrics = ParticipantMetrics(federation=settings.federation, version=release())
    with watched(settings, metrics, json=json) as view:

        def say(event: Event) -> None:
            if isinstance(event, SlotClaimed):  # from here on the participant has an id
                logs.bind(participant=event.participant)
            view.say(event)

        is_over = serve(
            settings,
            say=say,
            on_ready=stop_on_signals,
            observer=metrics,
            wall_clock=utc_now,
            reread=rereading(settings, options, credentials, role="participant"),
        )
    code = exit_code(0)
    if not is_over:
        end_now(code)
    sys.exit(code)


@app.command(cls=GroupedCommand)
@options_of(KeeperSettings)
def keeper(*, json: Json = False, credentials: CredentialsFile = None, **options: Any) -> None:
    """Keep the seeds of masks: tell sums over whole sets, and never those of a single update."""
    settings = read(KeeperSettings, options, credentials, role="keeper")
    from fanfold.keeper.assembly import serve  # noqa: PLC0415 - see above
    from fanfold.keeper.metrics import KeeperMetrics  # noqa: PLC0415 - see above

    logs.set_up(settings.log_format, federation=settings.federation)
    metrics = KeeperMetrics(federation=settings.federation, version=release())
    with watched(settings, metrics, json=json) as view:
        serve(
            settings, say=view.say, on_ready=stop_on_signals, wall_clock=utc_now, observer=metrics
        )


@app.command(cls=GroupedCommand)
@options_of(StatusSettings)
def status(
    *,
    json: Json = False,
    watch: Watch = False,
    credentials: CredentialsFile = None,
    **options: Any,
) -> None:
    """Show which participants are present, what each is doing, the round and the queues."""
    from fanfold.monitoring.status.watch import watch as look  # noqa: PLC0415 - as above

    settings = read(StatusSettings, options, credentials)
    logs.set_up(settings.log_format, federation=settings.federation)
    json = prints_json(json=json, log_format=settings.log_format)
    look(settings, json=json, repeat=watch, on_ready=stop_on_signals)
    sys.exit(exit_code(0))


@app.command(cls=GroupedCommand)
@options_of(RoundSettings, SimulationSettings)
def simulate(*, json: Json = False, **options: Any) -> None:
    """Train a simulated federation in one process, in simulated time, without a broker."""
    from fanfold.api.simulate import simulated  # noqa: PLC0415 - as above

    settings = read(SimulationSettings, options)
    logs.set_up(settings.log_format)
    view = view_of(json=json, log_format=settings.log_format, is_live=True)
    simulated(settings, options, view=view, on_ready=stop_on_signals)


@app.command(cls=GroupedCommand)
@options_of(ReplaySettings)
def replay(*, json: Json = False, **options: Any) -> None:
    """Repeat a run from its history, without a broker, and compare the hash of its parameters."""
    from fanfold.runs.replay import replay as replay_run  # noqa: PLC0415 - as above

    settings = read(ReplaySettings, options)
    logs.set_up(settings.log_format)
    with view_of(json=json, log_format=settings.log_format) as view:
        replayed = replay_run(settings, say=view.say)
        view.say(replayed)
    if not replayed.agrees:
        sys.exit(FAILED)


@app.command(cls=GroupedCommand)
@options_of(CheckSettings)
def check(*, json: Json = False, **options: Any) -> None:
    """Try a task before anything runs: a round of one participant, and what it would cost."""
    settings = read(CheckSettings, options)
    from fanfold.check.check import check as check_task  # noqa: PLC0415 - as above
    from fanfold.check.show import show  # noqa: PLC0415 - as above

    logs.set_up(settings.log_format)
    json = prints_json(json=json, log_format=settings.log_format)
    with view_of(json=json) as view:
        report = check_task(settings, say=view.say)
        if json:
            view.say(report)
    if not json:
        show(report, Console())


region_command.add_to(app)
run_commands.add_to(app)
service_commands.add_to(app)
access_commands.add_to(app)
identity_commands.add_to(app)


def main() -> None:
    """Run the command line; a user's mistake is reported in one sentence."""
    try:
        sys.exit(app(prog_name="fanfold", standalone_mode=False) or 0)
    except UsageError as error:
        if is_help(error):
            sys.stderr.write(f"{error}\n")
            end(WRONG_INPUT)
        _fail(InvalidInputError(said(error)), WRONG_INPUT)
    except typer.Abort:
        _fail(InvalidInputError("nothing was entered, and nothing was done"), FAILED)
    except (InvalidInputError, TransportError) as error:
        _fail(error, WRONG_INPUT)
    except StoppedError:
        end(exit_code(FAILED))
    except FanfoldError as error:
        _fail(error, FAILED)
    except ValueError as error:
        from fanfold.learning import LearningError  # noqa: PLC0415 - loaded by now, or not the cause

        if not isinstance(error, LearningError):
            raise
        _fail(error, WRONG_INPUT)


def _fail(error: Exception, code: int) -> None:
    sys.stderr.write(f"fanfold: {error}\n")
    end(exit_code(code))

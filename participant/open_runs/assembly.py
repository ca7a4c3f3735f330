"""Puts a participant of many runs together."""

from collections.abc import Callable

from fanfold.learning import local_device, task_sha256
from fanfold.participant.channel import ParticipantChannel
from fanfold.participant.connections import OnReady, run_connected
from fanfold.participant.membership import Membership
from fanfold.participant.observer import Observer
from fanfold.participant.open_runs.allowed import Allowance, Allowed
from fanfold.participant.open_runs.resident import Resident
from fanfold.participant.open_runs.run_thread import TakePart
from fanfold.participant.open_runs.runs_at_work import RunsAtWork
from fanfold.participant.settings import ParticipantSettings
from fanfold.participant.state_folder import tidy
from fanfold.schemas.events.event import Say
from fanfold.schemas.names import FederationNames
from fanfold.schemas.run_messages import OpenRun
from fanfold.transport import EventBuffer, Tls, connection_of


def settings_of(run: OpenRun, settings: ParticipantSettings) -> ParticipantSettings:
    """Return the settings of the participant of one run: with its task, names and state."""
    names = FederationNames(settings.federation, run=run.run)
    return settings.model_copy(
        update={
            "allow": (),
            "task": run.task,
            "federation": names.prefix,
            "state_dir": settings.state_dir and settings.state_dir / run.run,
        }
    )


def serve_open_runs(
    settings: ParticipantSettings,
    take_part: TakePart,
    *,
    tls: Tls | None,
    reread: Callable[[], ParticipantSettings] | None = None,
    say: Say,
    on_ready: OnReady,
    observer: Observer,
) -> bool:
    """Take part in every allowed run that a resident coordinator opens, until told to leave.

    Args:
        settings: with what is allowed.
        take_part: in one run.
        tls: what `tls_of` returned.
        reread: returns the settings with the credentials of now.
        say: called with what a person should know.
        on_ready: is given the function that stops the participant.
        observer: sees what happens.

    Returns:
        False if a task trains on, because it does not ask whether it should stop.
    """

    def tidy_run(run: OpenRun) -> None:
        folder = settings_of(run, settings).state_dir
        if folder is not None:
            tidy(folder)

    device = str(local_device(settings.device))
    event_buffer = EventBuffer()
    connection = connection_of(
        settings,
        "participant",
        f"{settings.id} hears of runs",
        event_buffer=event_buffer,
        tls=tls,
        reread=reread,
        properties={"participant": settings.id, "device": device},
    )
    channel = ParticipantChannel(
        FederationNames.of(settings.federation),
        settings.id,
        consuming=connection,
        publishing=connection,
    )
    observer.attach(device=device, num_examples=0, is_ready=channel.is_receiving)
    allowance = Allowance([Allowed.parse(text) for text in settings.allow], task_sha256)
    resident = Resident(
        settings,
        channel=channel,
        runs=RunsAtWork(
            allowance,
            take_part,
            deliver=event_buffer.put_event,
            tidy=tidy_run,
            say=say,
        ),
        event_buffer=event_buffer,
        membership=Membership(
            channel,
            settings.id,
            device=device,
            num_examples=0,
            alive_seconds=settings.progress_seconds,
        ),
        say=say,
    )
    return run_connected(resident.run, settings, event_buffer, [connection], on_ready=on_ready)

"""Puts the service together from its settings and lets it run."""

import time
from collections.abc import Callable

from fanfold.coordinator.admission.sender_check import SenderCheck
from fanfold.registry.record import RunRecord
from fanfold.registry.registry import Registry
from fanfold.schemas.errors import ConnectionClosedError
from fanfold.schemas.events.event import Say
from fanfold.schemas.events.run_folder import FolderLocked
from fanfold.schemas.events.service import ServiceStarted
from fanfold.schemas.events.shared import DiskFull, DiskRefuses
from fanfold.schemas.names import FederationNames
from fanfold.schemas.timestamps import Clock
from fanfold.serving.attendance import Attendance
from fanfold.serving.channel import ServiceChannel
from fanfold.serving.folder_lock import locked
from fanfold.serving.page import page_of
from fanfold.serving.requests import Requests
from fanfold.serving.run_processes import RunProcesses
from fanfold.serving.runs import Runs
from fanfold.serving.service import Service
from fanfold.serving.settings import ServeSettings
from fanfold.storage.disk import is_full_disk, until_there_is_room
from fanfold.transport import (
    EventBuffer,
    EventReader,
    Stop,
    StoppedError,
    connection_of,
    tls_of,
)

PAUSE_SECONDS = 2.0


def serve(
    settings: ServeSettings,
    *,
    say: Say,
    on_ready: Callable[[Callable[[str], None]], None],
    wall_clock: Clock,
    attach: Callable[[Callable[[], bool]], None] = lambda _is_ready: None,
) -> None:
    """Run one service until it is told to stop; its runs then wait for its next start.

    Args:
        settings: of the service.
        say: is told what happens.
        on_ready: is given the function that stops it.
        wall_clock: puts the time into records.
        attach: is given the function that tells whether requests arrive now.

    Raises:
        InvalidInputError: if the registry cannot be used.
        LoginRefusedError: if the broker does not let us in.
        BrokerUnreachableError: if there is no broker within `connect_seconds`.
    """
    event_buffer = EventBuffer()
    reader = EventReader(event_buffer)
    tls = tls_of(settings)
    consuming, publishing = (
        connection_of(settings, "service", purpose, event_buffer=event_buffer, tls=tls)
        for purpose in ("consumes", "publishes")
    )
    channel = ServiceChannel(
        FederationNames(settings.federation),
        consuming=consuming,
        publishing=publishing,
        chunk_bytes=settings.chunk_bytes,
    )
    attach(channel.is_receiving)

    def stop(reason: str) -> None:
        event_buffer.put_event(Stop(reason))
        publishing.close()  # where the broker takes nothing, an answer waits for ever

    on_ready(stop)
    is_told = False

    def wait_for_folder() -> None:
        nonlocal is_told
        if not is_told:
            say(FolderLocked(str(settings.out), holder="another fanfold serve"))
        is_told = True
        reader.pause(PAUSE_SECONDS)

    try:
        with locked(settings.out, wait=wait_for_folder):
            registry = Registry(settings.out)
            registry.sweep()
            processes = RunProcesses(settings, event_buffer)
            service = _service(
                settings, registry, processes, channel, reader, say=say, now=wall_clock
            )
            try:
                with consuming, publishing:
                    for connection in (consuming, publishing):
                        connection.wait_connected(settings.connect_seconds)
                    with page_of(settings, event_buffer, say=say):
                        service.run()
            finally:
                processes.close()
    except (StoppedError, ConnectionClosedError):
        return


def _service(
    settings: ServeSettings,
    registry: Registry,
    processes: RunProcesses,
    channel: ServiceChannel,
    reader: EventReader,
    *,
    say: Say,
    now: Clock,
) -> Service:
    """Return the service; nothing is sent yet."""

    def pause(error: OSError) -> None:
        kind = DiskFull if is_full_disk(error) else DiskRefuses
        say(kind(str(settings.out), reason=error.strerror))
        reader.pause(PAUSE_SECONDS)

    def write(record: RunRecord) -> None:
        until_there_is_room(lambda: registry.write(record), pause)

    runs = Runs(
        registry,
        processes,
        federation=settings.federation,
        parallel_runs=settings.parallel_runs,
        write=write,
        now=now,
        clock=time.monotonic,
    )
    shared = frozenset() if settings.require_login else channel.logins
    return Service(
        settings.federation,
        channel=channel,
        reader=reader,
        runs=runs,
        requests=Requests(runs, now=now, close_round=processes.close_round),
        attendance=Attendance(
            runs,
            SenderCheck({*settings.shared_login, *shared}),
            most=settings.max_participants,
        ),
        say=say,
        started=_started(settings, registry),
    )


def _started(settings: ServeSettings, registry: Registry) -> ServiceStarted:
    return ServiceStarted(
        federation=settings.federation,
        folder=str(settings.out),
        runs=len(registry.all()),
        parallel_runs=settings.parallel_runs,
    )

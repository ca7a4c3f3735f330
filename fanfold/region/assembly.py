"""Puts a region together from its settings and lets it run."""

from fanfold.coordinator.assembly import OnReady
from fanfold.coordinator.observer import Observer
from fanfold.participant.border import border_of
from fanfold.participant.connections import connect, run_connected
from fanfold.participant.membership import Membership
from fanfold.participant.service import Participant
from fanfold.participant.state_folder import StateFolder
from fanfold.participant.version_receiver import VersionReceiver
from fanfold.region.below import Below, StopRegion
from fanfold.region.handover import Handover
from fanfold.region.regional_worker import RegionalWorker
from fanfold.region.settings import RegionSettings
from fanfold.schemas.events.event import Event, Say
from fanfold.schemas.events.participant import RunOver
from fanfold.schemas.reader_limits import ReaderLimits
from fanfold.schemas.timestamps import Clock
from fanfold.transport import EventBuffer, tls_of

DEVICE = "region"
"""What is told in the place of a participant's device."""


def serve(
    settings: RegionSettings,
    *,
    say: Say,
    on_ready: OnReady,
    observer: Observer | None = None,
    wall_clock: Clock | None = None,
) -> None:
    """Run one region until it is told to leave.

    Args:
        settings: of the region.
        say: is told what happens above and below.
        on_ready: is given the function that stops the region.
        observer: sees the rounds below.
        wall_clock: puts the time on the lines of the history; sealed regions need one.

    Raises:
        InvalidInputError: if a folder cannot be used, or no region can take part in the run above.
        LoginRefusedError: if a broker does not let us in.
        BrokerUnreachableError: if there is no broker above within `connect_seconds`.
    """
    handover = Handover()
    below = Below(settings, handover, say=say, observer=observer, wall_clock=wall_clock)

    def hear(event: Event) -> None:
        say(event)
        if isinstance(event, RunOver):
            handover.finished(event.run)

    def ready(stop_above: StopRegion) -> None:
        def stop(reason: str) -> None:
            stop_above(reason)
            below.stop(reason)

        below.start(stop)
        on_ready(stop)

    try:
        _take_part(settings, handover, say=hear, on_ready=ready, wall_clock=wall_clock)
    finally:
        below.stop("the participant above has ended")
        below.end()


def _take_part(
    settings: RegionSettings,
    handover: Handover,
    *,
    say: Say,
    on_ready: OnReady,
    wall_clock: Clock | None,
) -> None:
    """Be a participant of the federation above."""
    above = settings.above()
    limits = ReaderLimits(max_bytes=settings.max_version_bytes)
    border, event_buffer = border_of(above, wall_clock), EventBuffer()
    channel, connections = connect(above, event_buffer, border, device=DEVICE, tls=tls_of(above))
    participant = Participant(
        above,
        channel=channel,
        receiver=VersionReceiver(limits, channel.acknowledge, say=say, border=border),
        worker=RegionalWorker(
            handover,
            participant=above.id,
            state=StateFolder(above.state_dir, limits),
            channel=channel,
            chunk_bytes=above.chunk_bytes,
            deliver=event_buffer.put_event,
        ),
        event_buffer=event_buffer,
        membership=Membership(
            channel,
            above.id,
            device=DEVICE,
            num_examples=0,
            alive_seconds=above.progress_seconds,
        ),
        say=say,
    )
    run_connected(participant.run, above, event_buffer, connections, on_ready=on_ready)

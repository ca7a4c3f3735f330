"""Puts a region together from its settings and lets it run."""

from collections.abc import Callable
from dataclasses import dataclass

from fanfold.coordinator.assembly import OnReady
from fanfold.coordinator.observer import Observer
from fanfold.participant.border import border_of
from fanfold.participant.connections import connect, run_connected
from fanfold.participant.membership import Membership
from fanfold.participant.observer import Observer as ObserverAbove
from fanfold.participant.observer import Unobserved
from fanfold.participant.service import Participant
from fanfold.participant.settings import ParticipantSettings
from fanfold.participant.state_folder import StateFolder
from fanfold.participant.version_receiver import VersionReceiver
from fanfold.region.below import Below, StopRegion, check_below
from fanfold.region.handover import Handover
from fanfold.region.regional_worker import RegionalWorker
from fanfold.region.settings import RegionSettings
from fanfold.region.upstream_options import named_as_upstream
from fanfold.schemas.events.event import Event, Say
from fanfold.schemas.events.participant import RunOver
from fanfold.schemas.reader_limits import ReaderLimits
from fanfold.schemas.timestamps import Clock
from fanfold.transport import EventBuffer, Paces, tls_of

DEVICE = "region"
"""What is told in the place of a participant's device."""


def serve(
    settings: RegionSettings,
    *,
    say: Say,
    on_ready: OnReady,
    wall_clock: Clock,
    observer: Observer | None = None,
    observer_above: ObserverAbove | None = None,
    reread: Callable[[], RegionSettings] | None = None,
    reread_above: Callable[[], ParticipantSettings] | None = None,
) -> None:
    """Run one region until it is told to leave.

    Args:
        settings: of the region.
        say: is told what happens above and below.
        on_ready: is given the function that stops the region.
        wall_clock: puts the time on the lines of the history and of the events below.
        observer: sees the rounds below.
        observer_above: sees the participant above.
        reread: returns the settings with the credentials below of now; it is asked before each
            attempt to connect again.
        reread_above: likewise of the settings above.

    Raises:
        InvalidInputError: if a folder cannot be used, or no region can take part in the run above.
        LoginRefusedError: if a broker does not let us in.
        BrokerUnreachableError: if there is no broker above or below within `connect_seconds`.
    """
    check_below(settings)
    handover = Handover()
    below = Below(
        settings, handover, say=say, observer=observer, wall_clock=wall_clock, reread=reread
    )
    above = Above(
        settings.above(), observer_above or Unobserved(), below.represented.number, wall_clock
    )

    def hear(event: Event) -> None:
        above.observer.hear(event)
        say(event)
        if isinstance(event, RunOver):
            handover.finished(event)

    def ready(stop_above: StopRegion) -> None:
        def stop(reason: str) -> None:
            stop_above(reason)
            below.stop(reason)

        below.start(stop)
        on_ready(stop)

    try:
        limits = ReaderLimits(max_bytes=settings.max_version_bytes)
        _take_part(above, handover, limits, say=hear, on_ready=ready, reread=reread_above)
    finally:
        below.stop("the participant above has ended")
        below.end()


@dataclass(frozen=True, slots=True)
class Above:
    """Of the participant above: its settings, who watches it, and for how many it speaks."""

    settings: ParticipantSettings
    observer: ObserverAbove
    participants: Callable[[], int | None]
    wall_clock: Clock | None


def _take_part(
    above: Above,
    handover: Handover,
    limits: ReaderLimits,
    *,
    say: Say,
    on_ready: OnReady,
    reread: Callable[[], ParticipantSettings] | None,
) -> None:
    """Be a participant of the federation above."""
    settings = above.settings
    with named_as_upstream():
        border, tls = border_of(settings, above.wall_clock), tls_of(settings)
        state = StateFolder(settings.state_dir, limits)
    event_buffer = EventBuffer()
    channel, connections = connect(
        settings,
        event_buffer,
        border,
        device=DEVICE,
        tls=tls,
        reread=reread,
        paces=Paces.of(settings.max_bytes_per_second),
    )
    above.observer.attach(device=DEVICE, num_examples=0, is_ready=channel.is_receiving)
    participant = Participant(
        settings,
        channel=channel,
        receiver=VersionReceiver(limits, channel.acknowledge, say=say, border=border),
        worker=RegionalWorker(
            handover,
            participant=settings.id,
            state=state,
            channel=channel,
            chunk_bytes=settings.chunk_bytes,
            deliver=event_buffer.put_event,
        ),
        event_buffer=event_buffer,
        membership=Membership(
            channel,
            settings.id,
            device=DEVICE,
            num_examples=0,
            alive_seconds=settings.progress_seconds,
            participants=above.participants,
        ),
        say=say,
    )
    run_connected(participant.run, settings, event_buffer, connections, on_ready=on_ready)

"""Puts a keeper together from its settings and lets it run."""

from collections.abc import Callable

from fanfold.keeper.channel import KeeperChannel
from fanfold.keeper.journal import Journal
from fanfold.keeper.observer import Observer, Unobserved
from fanfold.keeper.rules import Answering, Rules
from fanfold.keeper.service import Keeper
from fanfold.keeper.settings import KeeperSettings
from fanfold.schemas.errors import ConnectionClosedError, InvalidInputError
from fanfold.schemas.events.event import Say
from fanfold.schemas.events.keeper import KeeperStarted
from fanfold.schemas.events.shared import DiskRefuses
from fanfold.schemas.names import FederationNames
from fanfold.schemas.timestamps import Clock
from fanfold.sealing.identity import Identity, PublicIdentity
from fanfold.sealing.mask_seeds import in_order
from fanfold.sealing.roster import RosterFile
from fanfold.transport import EventBuffer, EventReader, Stop, connection_of, tls_of

DISK_PAUSE_SECONDS = 5.0


def serve(
    settings: KeeperSettings,
    *,
    say: Say,
    on_ready: Callable[[Callable[[str], None]], None],
    wall_clock: Clock,
    observer: Observer | None = None,
) -> None:
    """Run one keeper until it is told to stop.

    Args:
        settings: of the keeper.
        say: is told what happens.
        on_ready: is given the function that stops it.
        wall_clock: puts the time on the lines of the journal.
        observer: counts.

    Raises:
        InvalidInputError: if keys, roster or journal cannot be used.
        LoginRefusedError: if the broker does not let us in.
        BrokerUnreachableError: if there is no broker within `connect_seconds`.
    """
    observer = observer or Unobserved()
    identity = Identity.read(settings.identity)
    keepers = in_order([identity.public, *map(PublicIdentity.read, settings.peer)])
    if len({each.text() for each in keepers}) < len(keepers):
        raise InvalidInputError("--peer names this keeper itself, or the same one twice")
    roster = RosterFile(settings.roster)
    event_buffer = EventBuffer()
    reader = EventReader(event_buffer)

    def pause(error: OSError) -> None:
        say(DiskRefuses(str(settings.state_dir), reason=error.strerror))
        reader.pause(DISK_PAUSE_SECONDS)

    journal = Journal(settings.state_dir, wall_clock, pause=pause)
    tls = tls_of(settings)
    consuming, publishing = (
        connection_of(
            settings,
            "keeper",
            f"{identity.public.name} {purpose}",
            event_buffer=event_buffer,
            tls=tls,
        )
        for purpose in ("consumes", "publishes")
    )
    channel = KeeperChannel(
        FederationNames(settings.federation),
        identity.public.name,
        consuming=consuming,
        publishing=publishing,
        chunk_bytes=settings.chunk_bytes,
    )
    rules = Rules(
        identity,
        keepers,
        at_least=settings.masks_at_least,
        max_words=settings.max_words,
        members=lambda: roster.roster.members,
    )
    keeper = Keeper(
        settings.federation,
        channel=channel,
        reader=reader,
        answering=Answering(rules, journal),
        say=say,
        observer=observer,
    )
    observer.attach(is_ready=channel.is_receiving)

    def stop(reason: str) -> None:
        event_buffer.put_event(Stop(reason))
        publishing.close()  # where the broker takes nothing, an answer waits for ever

    try:
        with consuming, publishing:
            on_ready(stop)
            try:
                publishing.wait_connected(settings.connect_seconds)
                consuming.wait_connected(settings.connect_seconds)
            except ConnectionClosedError:
                return
            say(
                KeeperStarted(
                    federation=settings.federation,
                    keeper=identity.public.name,
                    masks_at_least=settings.masks_at_least,
                    members=len(roster.roster.members),
                )
            )
            keeper.run()
    finally:
        journal.close()
        roster.close()

"""Everything around a run, from admission to the loop, put together."""

import time
from collections.abc import Callable
from typing import Protocol

from fanfold.coordinator.admission.admission import admission_for
from fanfold.coordinator.aggregation.published_model import PublishedModel
from fanfold.coordinator.aggregation.run_state import RunState
from fanfold.coordinator.border import sender_check_of
from fanfold.coordinator.broker.channel import CoordinatorChannel
from fanfold.coordinator.broker.encoded_version import Announcement, VersionBytes, announcement
from fanfold.coordinator.broker.federation_queues import FederationQueues, window_of
from fanfold.coordinator.broker.leadership import Leadership
from fanfold.coordinator.broker.publisher import Publisher
from fanfold.coordinator.broker.recovery import Recovery
from fanfold.coordinator.committer import Committer
from fanfold.coordinator.evaluation.evaluator import Evaluator
from fanfold.coordinator.event_loop import EventLoop
from fanfold.coordinator.observer import Observer
from fanfold.coordinator.persistence.disk_retry import DiskRetry
from fanfold.coordinator.persistence.kept_versions import KeepRule, KeptVersions
from fanfold.coordinator.persistence.run_store import RunStore
from fanfold.coordinator.reporter import Reporter
from fanfold.coordinator.round_loop import Coordinator
from fanfold.coordinator.rounds.federation_state import FederationState
from fanfold.coordinator.rounds.presence import Presence
from fanfold.coordinator.rounds.sampling import Sampling
from fanfold.coordinator.settings import CoordinatorSettings
from fanfold.coordinator.unmasking.closed_set import ClosedSet
from fanfold.coordinator.upkeep import Upkeep
from fanfold.schemas.border import CoordinatorsBorder
from fanfold.schemas.events.event import Say
from fanfold.schemas.reader_limits import ReaderLimits
from fanfold.transport import EventBuffer, EventReader


class MakeClosedSet(Protocol):
    """Makes what a closed set of updates has to wait for."""

    def __call__(self, *, publisher: Publisher, say: Say) -> ClosedSet:
        """Ask nobody yet."""


def wire(
    settings: CoordinatorSettings,
    run: RunState,
    *,
    store: RunStore,
    border: CoordinatorsBorder,
    limits: ReaderLimits,
    evaluator: Evaluator,
    channel: CoordinatorChannel,
    event_buffer: EventBuffer,
    say: Say,
    observer: Observer,
    clock: Callable[[], float] = time.monotonic,
    unmasks: MakeClosedSet | None = None,
    task_sha256: str | None = None,
    announced: Announcement = announcement,
    make: Callable[..., Coordinator] = Coordinator,
) -> Coordinator:
    """Put the parts of a coordinator around a run; nothing is sent yet.

    Args:
        settings: of the coordinator.
        run: at its first version; a checkpoint is loaded later.
        store: the files of the run.
        border: what messages cross.
        limits: of an update.
        evaluator: measures versions.
        channel: to the broker.
        event_buffer: where everything that happens comes from.
        say: is told what happens.
        observer: sees the work.
        clock: seconds that only grow.
        unmasks: makes what the set of a round waits for once it is closed; None waits for nothing.
        task_sha256: of the task's source, for the record.
        announced: what a version says beside its tensors, whose length it is.
        make: drives the rounds.

    Raises:
        InvalidInputError: if a version had too many chunks.
    """
    version_bytes = VersionBytes(run, settings, border, announced)
    version_bytes()  # too many chunks are told before anything is sent
    state = FederationState(
        run,
        Presence(),
        Sampling(settings.policy, settings.seed),
        published=PublishedModel.wanted(run, settings.encoding_down),
    )
    observer.attach(
        present=lambda: len(state.presence),
        members=lambda: state.members,
        is_ready=channel.is_receiving,
    )
    reader = EventReader(event_buffer, clock)
    deliver, versions = event_buffer.put_event, state.presence.versions
    publisher = Publisher(
        channel=channel, store=store, deliver=deliver, versions=versions, border=border
    )
    queues = FederationQueues(
        state,
        channel=channel,
        publisher=publisher,
        version_bytes=version_bytes,
        window=window_of(limits.max_bytes // settings.chunk_bytes + 1),
    )
    leader = Leadership(settings.federation, channel=channel, reader=reader, store=store, say=say)
    recovery = Recovery(
        state,
        reader=reader,
        channel=channel,
        leader=leader,
        queues=queues,
        publisher=publisher,
        pending_acks=store.pending_acks,
        say=say,
    )
    admission = admission_for(
        run,
        store=store,
        channel=channel,
        publisher=publisher,
        queues=queues,
        presence=state.presence,
        limits=limits,
        sender_check=sender_check_of(settings, channel.logins, border),
        max_participants=settings.max_participants,
        unmasking=unmasks(publisher=publisher, say=say) if unmasks else None,
        say=say,
        observer=observer,
        clock=clock,
    )
    disk_retry = DiskRetry(settings.out, state=state, reader=reader, say=say)
    reporter = Reporter(
        state,
        settings=settings,
        store=store,
        evaluator=evaluator,
        disk_retry=disk_retry,
        kept_versions=KeptVersions(settings.out, KeepRule.parse(settings.keep_versions)),
        say=say,
        task_sha256=task_sha256,
    )
    committer = Committer(
        state,
        settings=settings,
        store=store,
        channel=channel,
        tally=admission.tally,
        reporter=reporter,
        disk_retry=disk_retry,
        observer=observer,
    )
    upkeep = Upkeep(
        state,
        queues=queues,
        publisher=publisher,
        recovery=recovery,
        say=say,
        waits_when_all_refused=settings.when_all_refused == "wait",
    )
    loop = EventLoop(
        reader,
        state,
        recovery=recovery,
        publisher=publisher,
        admission=admission,
        committer=committer,
        reporter=reporter,
        upkeep=upkeep,
    )
    return make(
        settings,
        state,
        loop=loop,
        recovery=recovery,
        publisher=publisher,
        committer=committer,
        reporter=reporter,
        observer=observer,
    )

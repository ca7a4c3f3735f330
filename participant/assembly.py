"""Puts a participant together from its settings and lets it run."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from fanfold.learning import (
    accelerators,
    limit_device_memory,
    load_optimizers,
    load_task,
    local_device,
    named_tensors,
    place,
    reading,
    use_huge_pages,
)
from fanfold.participant.border import border_of
from fanfold.participant.channel import ParticipantChannel
from fanfold.participant.connections import connection_of, tls_of
from fanfold.participant.dp_sgd_budget import example_privacy
from fanfold.participant.masking import Masking
from fanfold.participant.membership import Membership
from fanfold.participant.observer import Observer, Unobserved
from fanfold.participant.replica_lease import LeaseLostError, ReplicaLease
from fanfold.participant.service import Participant
from fanfold.participant.settings import ParticipantSettings
from fanfold.participant.state_folder import StateFolder
from fanfold.participant.trainer import Trainer
from fanfold.participant.training_worker import TrainingWorker
from fanfold.participant.version_receiver import VersionReceiver
from fanfold.schemas.errors import ConnectionClosedError
from fanfold.schemas.events.event import Event, Say
from fanfold.schemas.names import FederationNames
from fanfold.schemas.reader_limits import ReaderLimits
from fanfold.schemas.tensor_codec import limits_for
from fanfold.schemas.timestamps import Clock
from fanfold.transport import EventBuffer, Stop, Tls


def serve(
    settings: ParticipantSettings,
    *,
    say: Say,
    on_ready: Callable[[Callable[[str], None]], None],
    observer: Observer | None = None,
    wall_clock: Clock | None = None,
) -> bool:
    """Run one participant until it is told to leave; `observer` sees what happens.

    A sealed one needs a `wall_clock`, by which its starts are told apart.

    Returns:
        False if the task trains on, because it does not ask whether it should stop.

    Raises:
        InvalidInputError: if the task, its data or the state folder cannot be used.
        LoginRefusedError: if the broker does not let us in.
        BrokerUnreachableError: if there is no broker within `connect_seconds`.
        LeaseLostError: if another replica took our slot.
    """
    observer = observer or Unobserved()
    tls = tls_of(settings)
    if settings.slots is None:
        return _take_part(
            settings, tls=tls, say=say, on_ready=on_ready, observer=observer, wall_clock=wall_clock
        )
    with ReplicaLease(settings, tls=tls) as lease:
        on_ready(lease.stop)
        claimed = lease.claim(say)
        if claimed is None:
            return True
        if claimed.device is None:
            device = place(claimed.partition_index, accelerators())
            claimed = claimed.model_copy(update={"device": device})

        def on_ready_in_slot(stop: Callable[[str], None]) -> None:
            on_ready(stop)
            lease.pass_on(stop)

        is_over = _take_part(
            claimed,
            tls=tls,
            say=say,
            on_ready=on_ready_in_slot,
            observer=observer,
            wall_clock=wall_clock,
        )
        if lease.is_lost:
            raise LeaseLostError(f"another replica has {claimed.id}; start again to claim another")
        return is_over


def _take_part(
    settings: ParticipantSettings,
    *,
    tls: Tls | None,
    say: Say,
    on_ready: Callable[[Callable[[str], None]], None],
    observer: Observer,
    wall_clock: Clock | None,
) -> bool:

    def tell(event: Event) -> None:
        observer.hear(event)
        say(event)

    border = border_of(settings, wall_clock)
    masking = Masking.of(settings.id, settings.masks, settings.mask_identity)
    use_huge_pages()
    task = build_task(settings)
    device = local_device(settings.device)
    if settings.device_memory_fraction is not None:
        limit_device_memory(device, settings.device_memory_fraction)
    task.execution = replace(
        task.execution,
        device=device,
        bfloat16=settings.autocast,
        channels_last=settings.channels_last,
        compiled=settings.compile,
        cuda_graphs=settings.cuda_graphs,
        loader_workers=settings.loader_workers,
    )

    def await_disk(error: OSError) -> None:
        worker.await_disk(error)

    task.example_privacy = example_privacy(settings, settings.state_dir, pause=await_disk)
    trainer = Trainer(task, settings.id, seed=settings.seed)
    limits = ReaderLimits(
        max_bytes=limits_for(named_tensors(trainer.network), fixed=True).max_bytes
    )
    state = StateFolder(settings.state_dir, limits)
    load_optimizers()

    event_buffer = EventBuffer()
    properties = {"participant": settings.id, "device": str(device)}
    consuming, publishing = (
        connection_of(
            settings,
            f"{settings.id} {does}",
            event_buffer=event_buffer,
            tls=tls,
            properties=properties,
        )
        for does in ("consumes", "publishes")
    )
    channel = ParticipantChannel(
        FederationNames.of(settings.federation),
        settings.id,
        consuming=consuming,
        publishing=publishing,
        border=border,
    )
    worker = TrainingWorker(
        task,
        trainer,
        participant=settings.id,
        state=state,
        channel=channel,
        chunk_bytes=settings.chunk_bytes,
        deliver=event_buffer.put_event,
        observer=observer,
        masking=masking,
    )
    observer.attach(
        device=str(device), num_examples=trainer.num_examples, is_ready=channel.is_receiving
    )
    participant = Participant(
        settings,
        channel=channel,
        receiver=VersionReceiver(limits, channel.acknowledge, say=tell, border=border),
        worker=worker,
        event_buffer=event_buffer,
        membership=Membership(
            channel,
            settings.id,
            device=str(device),
            num_examples=0 if masking else trainer.num_examples,
            alive_seconds=settings.progress_seconds,
        ),
        say=tell,
    )

    def stop(reason: str) -> None:
        event_buffer.put_event(Stop(reason))
        if not publishing.connected:  # a goodbye or an upload would wait for ever
            publishing.close()

    with consuming, publishing:
        on_ready(stop)
        try:
            publishing.wait_connected(settings.connect_seconds)
            consuming.wait_connected(settings.connect_seconds)
        except ConnectionClosedError:
            return True
        return participant.run()


def build_task(settings: ParticipantSettings) -> Any:
    """Build the task.

    The partition is named only where somebody asked for another one than the default.

    Raises:
        TaskError: if there is no such task, or its data cannot be read.
    """
    arguments: dict[str, Any] = {
        "data_dir": settings.data,
        "partition_index": settings.partition_index,
        "num_partitions": settings.num_partitions,
        "seed": settings.seed,
    }
    if settings.partition != "iid":
        arguments["partition"] = settings.partition
    with reading(settings.data):
        return load_task(settings.task)(**arguments)

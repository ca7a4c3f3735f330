"""Puts a participant together from its settings and lets it run."""

import ssl
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from learning import (
    limit_device_memory,
    load_optimizers,
    load_task,
    local_device,
    named_tensors,
    reading,
    use_huge_pages,
)
from participant.desk import Desk
from participant.ledger import example_privacy
from participant.links import link_of, tls_of
from participant.observer import Observer, Unobserved
from participant.reader import VersionReader
from participant.service import Participant, Say
from participant.settings import ParticipantSettings
from participant.slot import WorkSlot
from participant.slots import SlotHolder, SlotLostError
from participant.state import StateFolder
from participant.trainer import Trainer
from participant.voice import Voice
from participant.work import Stop
from schemas.errors import LinkClosedError
from schemas.limits import Limits
from schemas.tensors import limits_for
from schemas.topology import Topology
from transport import Inbox


def serve(
    settings: ParticipantSettings,
    *,
    say: Say,
    on_ready: Callable[[Callable[[str], None]], None],
    observer: Observer | None = None,
) -> bool:
    """Run one participant until it is told to leave; `observer` sees what happens.

    Returns:
        False if the task trains on, because it does not ask whether it should stop.

    Raises:
        InvalidInputError: if the task, its data or the state folder cannot be used.
        LoginRefusedError: if the broker does not let us in.
        BrokerUnreachableError: if there is no broker within `connect_seconds`.
        SlotLostError: if another replica took our slot.
    """
    observer = observer or Unobserved()
    tls = tls_of(settings)
    if settings.slots is None:
        return _take_part(settings, tls=tls, say=say, on_ready=on_ready, observer=observer)
    with SlotHolder(settings, tls=tls) as holder:
        on_ready(holder.stop)
        claimed = holder.claim(say)
        if claimed is None:
            return True

        def on_ready_in_slot(stop: Callable[[str], None]) -> None:
            on_ready(stop)
            holder.pass_on(stop)

        is_over = _take_part(
            claimed, tls=tls, say=say, on_ready=on_ready_in_slot, observer=observer
        )
        if holder.is_lost:
            raise SlotLostError(f"another replica has {claimed.id}; start again to claim another")
        return is_over


def _take_part(
    settings: ParticipantSettings,
    *,
    tls: ssl.SSLContext | None,
    say: Say,
    on_ready: Callable[[Callable[[str], None]], None],
    observer: Observer,
) -> bool:

    def tell(event: str, fields: dict[str, Any]) -> None:
        observer.hear(event, fields)
        say(event, fields)

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
        loader_workers=settings.loader_workers,
    )

    def await_disk(error: OSError) -> None:
        slot.await_disk(error)

    task.example_privacy = example_privacy(settings, settings.state_dir, pause=await_disk)
    trainer = Trainer(task, settings.id, seed=settings.seed)
    limits = Limits(max_bytes=limits_for(named_tensors(trainer.network)).max_bytes)
    state = StateFolder(settings.state_dir, limits)
    load_optimizers()

    inbox = Inbox()
    properties = {"participant": settings.id, "device": str(device)}
    consuming, publishing = (
        link_of(settings, f"{settings.id} {does}", inbox=inbox, tls=tls, properties=properties)
        for does in ("consumes", "publishes")
    )
    desk = Desk(
        Topology(settings.federation), settings.id, consuming=consuming, publishing=publishing
    )
    slot = WorkSlot(
        task,
        trainer,
        participant=settings.id,
        state=state,
        desk=desk,
        chunk_bytes=settings.chunk_bytes,
        deliver=inbox.put_event,
        observer=observer,
    )
    observer.attach(
        device=str(device), num_examples=trainer.num_examples, is_ready=desk.is_receiving
    )
    participant = Participant(
        settings,
        desk=desk,
        reader=VersionReader(limits, desk.acknowledge, say=tell),
        slot=slot,
        inbox=inbox,
        voice=Voice(
            desk,
            settings.id,
            device=str(device),
            num_examples=trainer.num_examples,
            alive_seconds=settings.progress_seconds,
        ),
        say=tell,
    )

    def stop(reason: str) -> None:
        inbox.put_event(Stop(reason))
        if not publishing.connected:  # a goodbye or an upload would wait for ever
            publishing.close()

    with consuming, publishing:
        on_ready(stop)
        try:
            publishing.wait_connected(settings.connect_seconds)
            consuming.wait_connected(settings.connect_seconds)
        except LinkClosedError:
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

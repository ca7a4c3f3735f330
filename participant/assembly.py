"""Puts a participant together from its settings and lets it run."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from fanfold.learning import (
    Task,
    accelerators,
    limit_device_memory,
    load_optimizers,
    local_device,
    make_task,
    named_tensors,
    place,
    use_huge_pages,
)
from fanfold.participant.border import border_of
from fanfold.participant.connections import OnReady, connect, run_connected
from fanfold.participant.dp_sgd_budget import example_privacy
from fanfold.participant.masking import Masking
from fanfold.participant.membership import Membership
from fanfold.participant.observer import Observer, OneOfMany, Unobserved
from fanfold.participant.open_runs.assembly import serve_open_runs, settings_of
from fanfold.participant.open_runs.turns import Turn, Turns
from fanfold.participant.replica_lease import LeaseLostError, ReplicaLease
from fanfold.participant.service import Participant
from fanfold.participant.settings import ParticipantSettings
from fanfold.participant.state_folder import StateFolder
from fanfold.participant.trainer import Trainer
from fanfold.participant.training_worker import TrainingWorker
from fanfold.participant.version_receiver import VersionReceiver
from fanfold.schemas.events.event import Event, Say
from fanfold.schemas.reader_limits import ReaderLimits
from fanfold.schemas.run_messages import OpenRun
from fanfold.schemas.tensor_codec import limits_for
from fanfold.schemas.timestamps import Clock
from fanfold.transport import EventBuffer, Paces, Tls, tls_of


def serve(
    settings: ParticipantSettings,
    *,
    say: Say,
    on_ready: OnReady,
    observer: Observer | None = None,
    wall_clock: Clock | None = None,
    reread: Callable[[], ParticipantSettings] | None = None,
) -> bool:
    """Run one participant until it is told to leave; `observer` sees what happens.

    A sealed one needs a `wall_clock`, by which its starts are told apart. `reread` returns the
    settings with the credentials of now; it is asked before each attempt to connect again.

    Returns:
        False if the task trains on, because it does not ask whether it should stop.

    Raises:
        InvalidInputError: if the task, its data or the state folder cannot be used.
        LoginRefusedError: if the broker does not let us in.
        BrokerUnreachableError: if there is no broker within `connect_seconds`.
        LeaseLostError: if another replica took our slot.
    """
    host = Host(
        tls_of(settings),
        observer or Unobserved(),
        wall_clock,
        Paces.of(settings.max_bytes_per_second),
        reread,
    )
    if settings.slots is None:
        return _take_part_or_stay(settings, host, say=say, on_ready=on_ready)
    with ReplicaLease(settings, tls=host.tls) as lease:
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

        is_over = _take_part_or_stay(claimed, host, say=say, on_ready=on_ready_in_slot)
        if lease.is_lost:
            raise LeaseLostError(f"another replica has {claimed.id}; start again to claim another")
        return is_over


@dataclass(frozen=True, slots=True)
class Host:
    """What all runs that a process takes part in have in common."""

    tls: Tls | None
    observer: Observer
    wall_clock: Clock | None
    paces: Paces
    reread: Callable[[], ParticipantSettings] | None


def _take_part_or_stay(
    settings: ParticipantSettings, host: Host, *, say: Say, on_ready: OnReady
) -> bool:
    """Take part in one run, or in all that a resident coordinator opens."""
    if not settings.allow:
        return take_part(settings, host, say=say, on_ready=on_ready, turn=Turns().turn())
    in_run = replace(host, observer=OneOfMany(host.observer))

    def take_part_in(run: OpenRun, *, say: Say, on_ready: OnReady, turn: Turn) -> bool:
        return take_part(
            settings_of(run, settings),
            in_run,
            say=say,
            on_ready=on_ready,
            turn=turn,
            spent_in=settings.state_dir,
        )

    return serve_open_runs(
        settings,
        take_part_in,
        tls=host.tls,
        reread=host.reread,
        say=say,
        on_ready=on_ready,
        observer=host.observer,
    )


def take_part(
    settings: ParticipantSettings,
    host: Host,
    *,
    say: Say,
    on_ready: OnReady,
    turn: Turn,
    spent_in: Path | None = None,
) -> bool:
    """Take part in one run until told to leave.

    Args:
        settings: with an id, a task and a federation.
        host: what it shares with other runs.
        say: called with what a person should know.
        on_ready: is given the function that stops it.
        turn: held while the network is built, and while it trains.
        spent_in: folder of what DP-SGD has spent, by default that of the run's state: all runs
            draw on the same examples.

    Returns:
        False if the task trains on, because it does not ask whether it should stop.

    Raises:
        TrainingAbandoned: if the turn was withdrawn before the network was built.
    """
    observer = host.observer

    def tell(event: Event) -> None:
        observer.hear(event)
        say(event)

    def await_disk(error: OSError) -> None:
        worker.await_disk(error)

    border = border_of(settings, host.wall_clock)
    masking = Masking.of(settings.id, settings.masks, settings.mask_identity)
    use_huge_pages()
    with turn:
        task = build_task(settings)
        device = _execute(task, settings)
        task.example_privacy = example_privacy(
            settings, spent_in or settings.state_dir, pause=await_disk
        )
        trainer = Trainer(task, settings.id, seed=settings.seed)
    limits = ReaderLimits(
        max_bytes=limits_for(named_tensors(trainer.network), fixed=True).max_bytes
    )
    state = StateFolder(settings.state_dir, limits)
    load_optimizers()

    event_buffer = EventBuffer()
    channel, connections = connect(
        settings,
        event_buffer,
        border,
        device=str(device),
        tls=host.tls,
        reread=host.reread,
        paces=host.paces,
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
        turn=turn,
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
    return run_connected(participant.run, settings, event_buffer, connections, on_ready=on_ready)


def _execute(task: Task, settings: ParticipantSettings) -> torch.device:
    """Say where and how fast the task trains; return where."""
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
    return device


def build_task(settings: ParticipantSettings) -> Any:
    """Build the task.

    The partition is named only where somebody asked for another one than the default.

    Raises:
        TaskError: if there is no such task, or its data cannot be read.
    """
    arguments: dict[str, Any] = {
        "partition_index": settings.partition_index,
        "num_partitions": settings.num_partitions,
        "seed": settings.seed,
    }
    if settings.partition != "iid":
        arguments["partition"] = settings.partition
    return make_task(settings.task, settings.data, **arguments)

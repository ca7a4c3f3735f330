"""Puts a coordinator together from its settings and lets it run."""

import secrets
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial

from fanfold.coordinator.aggregation import fixed_settings
from fanfold.coordinator.aggregation.deltas_alone import check_deltas_alone
from fanfold.coordinator.aggregation.differential_privacy import DifferentialPrivacy
from fanfold.coordinator.aggregation.initial_model import initial_model
from fanfold.coordinator.aggregation.make_aggregation import make_aggregation
from fanfold.coordinator.aggregation.masked_round import MaskedRound
from fanfold.coordinator.aggregation.optimizer_spec import parse_optimizer
from fanfold.coordinator.aggregation.root_update import RootTrainer
from fanfold.coordinator.aggregation.run_state import RunState
from fanfold.coordinator.aggregation.staleness import parse_staleness
from fanfold.coordinator.border import audited, border_of
from fanfold.coordinator.broker.channel import CoordinatorChannel
from fanfold.coordinator.broker.connections import connect
from fanfold.coordinator.evaluation.evaluator import Evaluator
from fanfold.coordinator.evaluation.run_result import RunResult
from fanfold.coordinator.event_loop import CloseRound
from fanfold.coordinator.observer import Observer, Unobserved
from fanfold.coordinator.persistence.model_names import BEST
from fanfold.coordinator.persistence.run_store import RunStore
from fanfold.coordinator.round_loop import Coordinator
from fanfold.coordinator.settings import CoordinatorSettings
from fanfold.coordinator.settings.without_effect import without_effect
from fanfold.coordinator.unmasking.unmasking import Unmasking
from fanfold.coordinator.wiring import wire
from fanfold.learning import (
    Task,
    local_device,
    local_optimizer,
    make_task,
    task_sha256_if_any,
    use_huge_pages,
)
from fanfold.schemas.errors import ConnectionClosedError
from fanfold.schemas.events.event import Event, Say
from fanfold.schemas.events.shared import OptionWithoutEffect
from fanfold.schemas.tensor_codec import limits_for
from fanfold.schemas.timestamps import Clock
from fanfold.transport import Connection, EventBuffer, Stop

STOP_SECONDS = 5.0
"""How long a publish under way may go on after SIGTERM."""
EVENT_BUFFER_BYTES = 16 << 20
"""What may wait between reading and folding: four chunks keep either busy, more is only memory."""
LEAST_CHUNK_BYTES = 64 << 10
"""Of updates in several chunks: smaller ones would fill the window with next to nothing."""

OnReady = Callable[[Callable[[str], None]], None]
"""Is given the function that stops the service, for a signal handler."""


def serve(
    settings: CoordinatorSettings,
    *,
    say: Say,
    on_ready: OnReady,
    observer: Observer | None = None,
    wall_clock: Clock | None = None,
    on_round: Callable[[Callable[[], None]], None] = lambda _close: None,
    reread: Callable[[], CoordinatorSettings] | None = None,
) -> RunResult:
    """Run one coordinator until its run is finished or it is stopped.

    Args:
        settings: of the coordinator.
        say: is told what happens.
        on_ready: is given the function that stops the coordinator.
        observer: sees it work.
        wall_clock: puts the time on the lines of the history.
        on_round: is given the function that closes the open round once its quorum is met.
        reread: returns the settings with the credentials of now; it is asked before each attempt
            to connect again.

    Raises:
        InvalidInputError: if the task, the folder or the initial parameters cannot be used.
        LoginRefusedError: if the broker does not let us in.
        BrokerUnreachableError: if there is no broker within `connect_seconds`.
    """
    observer = observer or Unobserved()
    say = audited(settings, wall_clock, say)

    def tell(event: Event) -> None:
        observer.hear(event)
        say(event)

    local_optimizer(settings.optimizer)  # participants could only say so when they train
    use_huge_pages()
    task = make_task(settings.task, settings.data, seed=settings.seed)
    task.execution = replace(task.execution, device=local_device(settings.device))
    event_buffer = EventBuffer(EVENT_BUFFER_BYTES)
    channel, connections = connect(settings, event_buffer, reread=reread)

    def ready(stop: Callable[[str], None]) -> None:
        on_ready(stop)
        on_round(lambda: event_buffer.put_event(CloseRound()))

    return run_connected(
        lambda: assemble(
            settings,
            task=task,
            channel=channel,
            event_buffer=event_buffer,
            say=tell,
            observer=observer,
            wall_clock=wall_clock,
        ),
        settings,
        event_buffer,
        connections,
        on_ready=ready,
    )


def run_connected(
    make: Callable[[], Coordinator],
    settings: CoordinatorSettings,
    event_buffer: EventBuffer,
    connections: Sequence[Connection],
    *,
    on_ready: OnReady,
) -> RunResult:
    """Connect, and run a coordinator until its run is finished or it is stopped.

    Args:
        make: makes it; nothing is sent before.
        settings: say how long a broker is waited for.
        event_buffer: of the coordinator.
        connections: first the one that publishes; they are closed in the end.
        on_ready: is given the function that stops it.

    Raises:
        LoginRefusedError: if the broker does not let us in.
        BrokerUnreachableError: if there is no broker within `connect_seconds`.
    """
    publishing, *_ = connections

    def stop(reason: str) -> None:
        event_buffer.put_event(Stop(reason))
        publishing.close(STOP_SECONDS)  # where the broker is gone, a publish waits for ever

    with ExitStack() as stack:
        for connection in connections:
            stack.callback(connection.close)
        coordinator = make()
        for connection in connections:
            connection.start()
        on_ready(stop)
        try:
            for connection in connections:
                connection.wait_connected(settings.connect_seconds)
        except ConnectionClosedError:
            return coordinator.stop("stopped before there was a broker")
        return coordinator.run()


def assemble(
    settings: CoordinatorSettings,
    *,
    task: Task,
    channel: CoordinatorChannel,
    event_buffer: EventBuffer,
    say: Say,
    observer: Observer,
    clock: Callable[[], float] = time.monotonic,
    wall_clock: Clock | None = None,
) -> Coordinator:
    """Build version 0 and everything around it; nothing is sent yet.

    Raises:
        InvalidInputError: if the output folder or the initial parameters cannot be used.
    """
    model = initial_model(task, settings.seed, settings.initial, lora=settings.lora)
    tensors, kinds = model.tensors, model.kinds
    if settings.fixed is not None:
        check_deltas_alone("--encoding fixed", tensors, kinds)
        say(fixed_settings.chosen(settings.fixed))
    privacy = DifferentialPrivacy.of(settings.privacy)
    if privacy is not None:
        privacy.check_model(tensors, kinds)
    border = border_of(settings)
    limits = limits_for(
        tensors,
        least_chunk_bytes=min(LEAST_CHUNK_BYTES, settings.chunk_bytes),
        fixed=settings.fixed is not None,
    )
    store = RunStore(settings.out, limits, wall_clock=wall_clock)
    if settings.restored:
        store.checkpoint.check_there()
    masked = None
    if channel.keepers and settings.fixed is not None:
        masked = MaskedRound(settings.fixed, channel.keepers, kinds)
    run = RunState(
        run_id=secrets.token_hex(4),
        tensors=tensors,
        kinds=kinds,
        staleness=parse_staleness(settings.staleness_weight),
        optimizer=parse_optimizer(settings.server_optimizer),
        limits=settings.limits,
        privacy=privacy,
        aggregation=masked
        or make_aggregation(
            settings.aggregation,
            store.kept,
            root=lambda: RootTrainer(task, lambda version: settings.plan(version, settings.rounds)),
        ),
    )
    run.leave_frozen(model.form.frozen_sha256)
    evaluator = Evaluator(
        task,
        model.network,
        form=model.form,
        deliver=event_buffer.put_event,
        best=settings.out / BEST,
        watch=settings.watch,
    )
    for option, reason in without_effect(settings, can_evaluate=evaluator.has_data).items():
        say(OptionWithoutEffect(option, reason))
    return wire(
        settings,
        run,
        store=store,
        border=border,
        limits=limits,
        evaluator=evaluator,
        channel=channel,
        event_buffer=event_buffer,
        say=say,
        observer=observer,
        clock=clock,
        unmasks=partial(Unmasking, run, masked) if masked else None,
        task_sha256=task_sha256_if_any(settings.task),
    )

"""Puts a coordinator together from its settings and lets it run."""

import secrets
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

from coordinator.books import Books
from coordinator.clerk import Clerk
from coordinator.damaged_uploads import DamagedUploads
from coordinator.desk import Desk
from coordinator.evaluation import Evaluator
from coordinator.identity import Identity
from coordinator.intake import Intake
from coordinator.model import global_tensors, initial_network, load_initial, tensor_kinds
from coordinator.observer import Observer, Unobserved
from coordinator.office import Office, Stop
from coordinator.orders import Orders
from coordinator.outcome import BEST, Outcome
from coordinator.presence import Presence
from coordinator.privacy import Privacy
from coordinator.publication import version_bytes_of
from coordinator.reception import Reception
from coordinator.reports import Say
from coordinator.sampling import Sampling
from coordinator.server_optimizer import parse_optimizer
from coordinator.service import Coordinator
from coordinator.settings import CoordinatorSettings
from coordinator.staleness import parse_staleness
from coordinator.training_run import TrainingRun
from coordinator.without_effect import without_effect
from learning import Task, load_task, local_device, local_optimizer, reading, use_huge_pages
from schemas.errors import LinkClosedError
from schemas.tensors import limits_for
from schemas.topology import Topology
from transport import Inbox, Link, link_context

STOP_SECONDS = 5.0
"""How long a publish under way may go on after SIGTERM."""
INBOX_BYTES = 16 << 20
"""What may wait between reading and folding: four chunks keep either busy, more is only memory."""
WINDOW_VERSIONS = 64
"""So many whole updates may be unacknowledged; classic queues hold them on disk."""
LEAST_CHUNK_BYTES = 64 << 10
"""Of updates in several chunks: smaller ones would fill the window with next to nothing."""
LEAST_WINDOW, LARGEST_WINDOW = 512, 65_535
"""In chunks. AMQP counts the window in 16 bits."""

OnReady = Callable[[Callable[[str], None]], None]
"""Is given the function that stops the service, for a signal handler."""


def serve(
    settings: CoordinatorSettings,
    *,
    say: Say,
    on_ready: OnReady,
    observer: Observer | None = None,
) -> Outcome:
    """Run one coordinator until its run is finished or it is stopped; `observer` sees it work.

    Raises:
        InvalidInputError: if the task, the folder or the initial parameters cannot be used.
        LoginRefusedError: if the broker does not let us in.
        BrokerUnreachableError: if there is no broker within `connect_seconds`.
    """
    observer = observer or Unobserved()

    def tell(event: str, fields: dict[str, Any]) -> None:
        observer.hear(event, fields)
        say(event, fields)

    local_optimizer(settings.optimizer)  # participants could only say so when they train
    use_huge_pages()
    with reading(settings.data):
        task = load_task(settings.task)(data_dir=settings.data, seed=settings.seed)
    task.execution = replace(task.execution, device=local_device(settings.device))
    inbox = Inbox(INBOX_BYTES)
    tls = link_context(
        settings.broker,
        ca_file=settings.ca_file,
        certificate=settings.certificate,
        key=settings.key,
    )
    consuming, publishing, administering = (
        Link(
            settings.broker,
            name=f"{settings.federation} coordinator {purpose}",
            inbox=inbox,
            client_properties={"federation": settings.federation, "role": "coordinator"},
            heartbeat_seconds=settings.heartbeat_seconds,
            max_backoff_seconds=settings.reconnect_seconds,
            tls=tls,
            certificate_login=settings.certificate is not None,
        )
        for purpose in ("consumes", "publishes", "administers")
    )
    desk = Desk(
        Topology(settings.federation),
        consuming=consuming,
        publishing=publishing,
        administering=administering,
        shared_queues=settings.results_queue,
    )

    def stop(reason: str) -> None:
        inbox.put_event(Stop(reason))
        publishing.close(STOP_SECONDS)  # where the broker is gone, a publish waits for ever

    links = (publishing, consuming, administering)
    with ExitStack() as stack:
        for link in links:
            stack.callback(link.close)
        coordinator = assemble(
            settings, task=task, desk=desk, inbox=inbox, say=tell, observer=observer
        )
        for link in links:
            link.start()
        on_ready(stop)
        try:
            for link in links:
                link.wait_connected(settings.connect_seconds)
        except LinkClosedError:
            return coordinator.stop("stopped before there was a broker")
        return coordinator.run()


def assemble(
    settings: CoordinatorSettings,
    *,
    task: Task,
    desk: Desk,
    inbox: Inbox,
    say: Say,
    observer: Observer,
) -> Coordinator:
    """Build version 0 and everything around it; nothing is sent yet.

    Raises:
        InvalidInputError: if the output folder or the initial parameters cannot be used.
    """
    network = initial_network(task, settings.seed)
    tensors = global_tensors(task, network)
    if settings.initial is not None:
        load_initial(settings.initial, tensors)
    kinds = tensor_kinds(network, tensors)
    privacy = Privacy.of(settings.privacy)
    if privacy is not None:
        privacy.check_model(tensors, kinds)
    run = TrainingRun(
        run_id=secrets.token_hex(4),
        tensors=tensors,
        kinds=kinds,
        staleness=parse_staleness(settings.staleness),
        optimizer=parse_optimizer(settings.server_optimizer),
        limits=settings.limits,
        privacy=privacy,
    )
    limits = limits_for(tensors, least_chunk_bytes=min(LEAST_CHUNK_BYTES, settings.chunk_bytes))
    window = WINDOW_VERSIONS * (limits.max_bytes // settings.chunk_bytes + 1)
    books = Books(settings.out, limits)
    presence = Presence()
    observer.attach(present=lambda: len(presence), is_ready=desk.is_receiving)
    orders = Orders(desk=desk, books=books, deliver=inbox.put_event)
    office = Office(
        settings.federation,
        desk=desk,
        orders=orders,
        inbox=inbox,
        books=books,
        presence=presence,
        say=say,
        version_bytes=version_bytes_of(run, settings),
        window=min(max(window, LEAST_WINDOW), LARGEST_WINDOW),
        results_bytes=settings.results_bytes,
    )
    reception = Reception(
        run,
        books=books,
        desk=desk,
        intake=Intake(
            books.spool,
            limits,
            damaged=DamagedUploads(run, books=books, orders=orders, say=say).tell,
        ),
        identity=Identity(
            {*settings.shared_login, *(() if settings.require_login else desk.logins)}
        ),
        presence=presence,
        say=say,
        welcome=office.welcome,
        try_again=orders.send_to_newcomer,
        max_participants=settings.max_participants,
        answer=lambda participant, message: orders.announce(message, to=participant),
        dead_letter=orders.dead_letter,
        observer=observer,
    )
    evaluator = Evaluator(
        task,
        network,
        deliver=inbox.put_event,
        best=settings.out / BEST,
        until_accuracy=settings.until_accuracy,
    )
    for option, reason in without_effect(settings, can_evaluate=evaluator.has_data).items():
        say("option_without_effect", {"option": option, "reason": reason})
    sampling = Sampling(settings.rules, settings.seed)
    clerk = Clerk(
        run,
        settings=settings,
        books=books,
        presence=presence,
        sampling=sampling,
        desk=desk,
        office=office,
        orders=orders,
        reception=reception,
        evaluator=evaluator,
        say=say,
        observer=observer,
    )
    return Coordinator(
        settings,
        run=run,
        books=books,
        presence=presence,
        sampling=sampling,
        desk=desk,
        office=office,
        orders=orders,
        reception=reception,
        clerk=clerk,
        evaluator=evaluator,
        inbox=inbox,
        say=say,
        observer=observer,
    )

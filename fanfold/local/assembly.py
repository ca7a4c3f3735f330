"""Puts a federation on one machine together, with a broker of its own, and lets it run."""

import queue
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Protocol

from fanfold.learning import local_device, local_optimizer
from fanfold.local.broker_node import BrokerNode
from fanfold.local.federation import Federation
from fanfold.local.keepers import with_keepers
from fanfold.local.settings import LocalSettings
from fanfold.page.serving import served
from fanfold.page.settings import PageSettings
from fanfold.participant.assembly import build_task
from fanfold.participant.data_folders import COORDINATOR
from fanfold.participant.settings import ParticipantSettings
from fanfold.schemas.errors import InvalidInputError
from fanfold.schemas.events.commands import BrokerKept, BrokerStarted, PageServed
from fanfold.schemas.events.coordinator import RunFinished
from fanfold.schemas.events.event import Event, Say
from fanfold.schemas.events.shared import OptionWithoutEffect
from fanfold.storage.disk import create

OWN_BROKER = {"connect_seconds": 90.0, "reconnect_seconds": 0.5}
"""Services start while their broker starts, and should notice at once when it is ready."""


class View(AbstractContextManager["View"], Protocol):
    """A context manager that shows events."""

    def say(self, event: Event) -> None:
        """Show an event."""


def run(
    settings: LocalSettings,
    *,
    view: View,
    shows_password: bool,
    on_ready: Callable[[Callable[[str], None]], None],
    import_from: Path | None = None,
) -> None:
    """Run the federation to its last round.

    Args:
        settings: the settings of the federation.
        view: shows its events.
        shows_password: whether only people read the view, and it does not end up in a log: then it
            shows the password of a broker that keeps running, not only the file with it.
        on_ready: called with the function that stops the federation.
        import_from: a folder from which the processes import modules, beside the current one.

    Raises:
        InvalidInputError: if the output folder cannot be written to, there is no RabbitMQ, or a
            process cannot use what it was given.
        LearningError: if there is no such task, data folder, device or optimizer.
        BrokerUnreachableError: if the private broker does not start.
        StoppedError: if it was stopped before its last round.
        FederationFailedError: if it ended before its last round otherwise.
    """
    check_input(settings)
    settings = with_keepers(settings)
    logs = _log_folder(settings)
    if settings.sealed:
        from fanfold.local.own_keys import make_keys  # noqa: PLC0415 - only where it is asked for

        make_keys(settings, settings.names)
    with ExitStack() as stack:
        node = None
        if not settings.broker:
            node = stack.enter_context(
                BrokerNode.start(management=settings.keep_broker, wait=False)
            )
            settings = settings.model_copy(update={"broker": (node.url,), **OWN_BROKER})
        stack.enter_context(view)
        if settings.keep_broker and node is None:
            reason = "the broker is not ours: --broker or the environment names it"
            view.say(OptionWithoutEffect("--keep-broker", reason))
        kept = node if settings.keep_broker else None
        if settings.page:
            address = PageSettings.model_validate({"port": settings.page_port})
            view.say(PageServed(stack.enter_context(served(settings.out, address))))
        say: Say = view.say
        if kept is not None:
            password_file = settings.out / "management-password"
            stack.callback(password_file.unlink, missing_ok=True)
            say = with_broker(view, kept, password_file, shows_password=shows_password)
        federation = Federation(settings, logs, say=say, import_from=import_from)
        on_ready(federation.stop)
        stack.callback(federation.close)
        federation.start()
        if node is not None:
            node.wait_ready()
            view.say(BrokerStarted("a private RabbitMQ node on this machine"))
        federation.run()
        if kept is not None or settings.page:
            until_stopped: queue.SimpleQueue[str] = queue.SimpleQueue()
            on_ready(until_stopped.put)
            until_stopped.get()


def check_input(settings: LocalSettings) -> None:
    """Find the mistakes that every process would report, before any is started.

    No data is read here: that may take long, and the participants do it.

    Raises:
        InvalidInputError: if a folder is none.
        LearningError: if there is no such task, device or optimizer.
    """
    local_optimizer(settings.optimizer)
    local_device(settings.device)
    folders = [("--data", folder) for folder in settings.data]
    if settings.test_data is not None:
        folders.append(("--test-data", settings.test_data))
    for option, folder in folders:
        if not folder.is_dir():
            raise InvalidInputError(f"{option} {folder} is not a folder")
    first = {"id": settings.names[0], "task": settings.task, "seed": settings.seed}
    build_task(ParticipantSettings.model_validate(first | settings.share_of(0)))


def _log_folder(settings: LocalSettings) -> Path:
    """Return the folder of the logs, with an empty file for each process."""
    logs = settings.out / "logs"
    try:
        logs.mkdir(parents=True, exist_ok=True)
        for name in (COORDINATOR, *settings.names):
            (logs / f"{name}.log").write_bytes(b"")
    except OSError as error:
        raise InvalidInputError(
            f"--out {settings.out} cannot be written to ({error.strerror}); choose another folder"
        ) from None
    return logs


def with_broker(view: View, kept: BrokerNode, password_file: Path, *, shows_password: bool) -> Say:
    """Report the management UI of a broker that keeps running, just before the last event."""

    def told(event: Event) -> None:
        if isinstance(event, RunFinished):
            password_file.unlink(missing_ok=True)
            create(password_file, kept.password.encode())
            view.say(
                BrokerKept(
                    management=kept.management_url,
                    user=kept.user,
                    password_file=str(password_file),
                    password=kept.password if shows_password else None,
                )
            )
        view.say(event)

    return told

"""A whole federation on one machine: broker, coordinator and participants as processes."""

import os
import queue
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from signal import SIGINT, SIGTERM
from typing import Protocol

from fanfold.access.broker_environment import BROKER_VARIABLE
from fanfold.learning import accelerators, local_device, local_optimizer
from fanfold.local.broker_node import BrokerNode
from fanfold.local.child_process import ChildProcess, ProcessEnded
from fanfold.local.commands import coordinator_command, participant_command
from fanfold.local.keepers import keeper_commands, with_keepers
from fanfold.local.parent_watch import VARIABLE as END_WITH_PARENT
from fanfold.local.settings import LocalSettings
from fanfold.page.serving import served
from fanfold.page.settings import PageSettings
from fanfold.participant.assembly import build_task
from fanfold.participant.data_folders import COORDINATOR
from fanfold.participant.settings import ParticipantSettings
from fanfold.schemas.errors import FederationFailedError, InvalidInputError, StoppedError
from fanfold.schemas.events.commands import (
    BrokerKept,
    BrokerStarted,
    KeeperExited,
    PageServed,
    ParticipantExited,
)
from fanfold.schemas.events.coordinator import RunFinished
from fanfold.schemas.events.event import Event, Say
from fanfold.schemas.events.shared import OptionWithoutEffect
from fanfold.storage.disk import create

LEAVE_SECONDS = 15.0
OWN_BROKER = {"connect_seconds": 90.0, "reconnect_seconds": 0.5}
"""Services start while their broker starts, and should notice at once when it is ready."""
CHILD_VARIABLE = "FANFOLD_CHILD"
"""Set for every process of a federation on this machine."""
WRONG_INPUT = 2


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
            say = _with_broker(view, kept, password_file, shows_password=shows_password)
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


class Federation:
    """One coordinator and its participants as child processes.

    `stop` may be called from any thread, the other methods from one.
    """

    def __init__(
        self, settings: LocalSettings, logs: Path, *, say: Say, import_from: Path | None = None
    ) -> None:
        self._settings = settings
        self._say = say
        self._logs = logs
        self._environment = os.environ | {
            BROKER_VARIABLE: " ".join(settings.broker),
            END_WITH_PARENT: "1",
            CHILD_VARIABLE: "1",
        }
        if import_from is not None:
            before = self._environment.get("PYTHONPATH")
            folders = [str(import_from), *([before] if before else [])]
            self._environment["PYTHONPATH"] = os.pathsep.join(folders)
        self._happened: queue.SimpleQueue[Event | ProcessEnded] = queue.SimpleQueue()
        self._coordinator: ChildProcess | None = None
        self._participants: dict[str, ChildProcess] = {}
        self._keepers: dict[str, ChildProcess] = {}
        self._is_stopping = False
        self._wrong_input: list[str] | None = []
        """Input errors of participants that have ended; None after one ended for another reason."""
        self._last_words: str | None = None
        """Why the last participant ended, if all of them did before the run."""

    def start(self) -> None:
        """Start all processes."""
        devices = accelerators()
        self._coordinator = self._child(COORDINATOR, coordinator_command(self._settings, devices))
        for name, flags in keeper_commands(self._settings).items():
            self._keepers[name] = self._child(name, flags)
        for index, name in enumerate(self._settings.names):
            flags = participant_command(self._settings, index, devices)
            self._participants[name] = self._child(name, flags)

    def run(self) -> None:
        """Pass on the coordinator's events until it ends.

        Raises:
            InvalidInputError: if that is what made it end, or what all participants ended with.
            StoppedError: if it was stopped.
            FederationFailedError: if it did not reach its last round for another reason.
        """
        assert self._coordinator is not None  # after start()
        while True:
            happened = self._happened.get()
            if isinstance(happened, Event):
                self._say(happened)
            elif happened.name == self._coordinator.name:
                break
            elif happened.name in self._keepers:
                self._keeper_ended(happened.name, happened.code)
            else:
                self._participant_ended(happened.name, happened.code)
        code = self._coordinator.wait()
        if not self._participants and self._wrong_input:
            raise InvalidInputError(self._wrong_input[0])
        if code and self._last_words is not None:
            raise FederationFailedError(f"no participant is left: {self._last_words}")
        if code and self._is_stopping:
            raise StoppedError("stopped before the last round")
        if code:
            kind = InvalidInputError if code == WRONG_INPUT else FederationFailedError
            raise kind(self._coordinator.reason_of_the_end())

    def stop(self, reason: str) -> None:
        """Ask the coordinator to end, by the signal we got; the participants are ended after it."""
        self._is_stopping = True
        if self._coordinator is not None:
            self._coordinator.terminate(SIGINT if reason == SIGINT.name else SIGTERM)

    def close(self) -> None:
        """Ask all processes to end, and kill those that do not."""
        self._is_stopping = True
        children = [*self._participants.values(), *self._keepers.values()]
        if self._coordinator is not None:
            children.append(self._coordinator)
        for child in children:
            child.terminate()
        for child in children:
            child.close(LEAVE_SECONDS)

    def _child(self, name: str, flags: list[str]) -> ChildProcess:
        child = ChildProcess(
            name,
            [sys.executable, "-m", "fanfold", *flags],
            environment=self._environment,
            log=self._logs / f"{name}.log",
            tells_events=flags[-1] == "--json",
            happened=self._happened.put,
        )
        if self._is_stopping:  # `stop` was called while processes were being started
            child.terminate()
        return child

    def _keeper_ended(self, name: str, code: int) -> None:
        """Let the others go on: the coordinator says whether it waits for this one."""
        child = self._keepers.pop(name)
        child.close(0)
        if not self._is_stopping:
            self._say(KeeperExited(name, code, child.reason_of_the_end()))

    def _participant_ended(self, name: str, code: int) -> None:
        """Let the others go on; without any participant left, end the coordinator."""
        child = self._participants.pop(name)
        child.close(0)
        if self._is_stopping:
            return
        reason = child.reason_of_the_end()
        if code != WRONG_INPUT:
            self._wrong_input = None
        elif self._wrong_input is not None:
            self._wrong_input.append(reason)
        self._say(ParticipantExited(name, code, reason))
        if not self._participants:
            self._last_words = reason
            self.stop("nobody is left")


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


def _with_broker(view: View, kept: BrokerNode, password_file: Path, *, shows_password: bool) -> Say:
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

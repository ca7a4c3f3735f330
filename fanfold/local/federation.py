"""One coordinator, its participants and keepers, as processes of this machine."""

import os
import queue
import sys
from pathlib import Path
from signal import SIGINT, SIGTERM

from fanfold.access.broker_environment import BROKER_VARIABLE
from fanfold.learning import accelerators
from fanfold.local.child_process import ChildProcess, ProcessEnded
from fanfold.local.commands import coordinator_command, participant_command
from fanfold.local.keepers import keeper_commands
from fanfold.local.parent_watch import VARIABLE as END_WITH_PARENT
from fanfold.local.settings import LocalSettings
from fanfold.participant.data_folders import COORDINATOR
from fanfold.schemas.errors import FederationFailedError, InvalidInputError, StoppedError
from fanfold.schemas.events.commands import KeeperExited, ParticipantExited
from fanfold.schemas.events.event import Event, Say

LEAVE_SECONDS = 15.0
CHILD_VARIABLE = "FANFOLD_CHILD"
"""Set for every process of a federation on this machine."""
WRONG_INPUT = 2


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

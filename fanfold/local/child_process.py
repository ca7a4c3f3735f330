"""One service as a child process; its output is a log, the coordinator's also its events."""

import signal
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fanfold.schemas.events.event import Event
from fanfold.schemas.events.reading import read_event

LOG_LINES = 12


@dataclass(frozen=True, slots=True)
class ProcessEnded:
    """A child process is over."""

    name: str
    code: int
    """Its exit code, or less than 0 for the signal that killed it."""


class ChildProcess:
    """A child process that ends with this one: it ends when its standard input is closed."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        environment: Mapping[str, str],
        log: Path,
        tells_events: bool,
        happened: Callable[[Event | ProcessEnded], None],
    ) -> None:
        """Start it.

        Args:
            name: the name in events and messages.
            command: the program and its arguments.
            environment: all environment variables of the process.
            log: the existing file to which it writes.
            tells_events: whether its standard output is one event per line.
            happened: called from another thread with each event, and at the end with
                `ProcessEnded`.
        """
        self.name = name
        self._log = log
        self._happened = happened
        with log.open("ab") as stream:
            self._process = subprocess.Popen(  # our own command
                command,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE if tells_events else stream,
                stderr=stream,
                text=True,
                errors="replace",
                process_group=0,  # a Ctrl-C in the terminal reaches us alone, and then it by us
            )
        threading.Thread(target=self._listen, name=f"hears {name}", daemon=True).start()

    def terminate(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Ask it to end."""
        self._process.send_signal(number)

    def wait(self) -> int:
        """Wait for its end and return its exit code."""
        return self._process.wait()

    def close(self, seconds: float) -> None:
        """Wait this long for its end, then kill it."""
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdin is not None:
            self._process.stdin.close()

    def error_message(self) -> str | None:
        """Return the sentence that its log ends with; None where it ends with something else."""
        *_, last = ["", *self._log_lines()]
        return last.removeprefix("fanfold: ") if last.startswith("fanfold: ") else None

    def reason_of_the_end(self) -> str:
        """Return why it ended: its error message, or else the last lines of its log."""
        message = self.error_message()
        if message is not None:
            return message
        lines = self._log_lines()
        code = self._process.poll() or 0
        killed = f"{self.name} was killed by {signal.Signals(-code).name}; " if code < 0 else ""
        return "\n".join([f"{killed}the end of {self._log}:", *lines[-LOG_LINES:]])

    def _log_lines(self) -> list[str]:
        return self._log.read_text(errors="replace").splitlines()

    def _listen(self) -> None:
        if self._process.stdout is not None:
            with self._process.stdout as lines, self._log.open("a") as log:
                for line in lines:
                    event = read_event(line)
                    if event is None:
                        log.write(line)
                        log.flush()
                    else:
                        self._happened(event)
        code = self._process.wait()
        self._happened(ProcessEnded(self.name, code))

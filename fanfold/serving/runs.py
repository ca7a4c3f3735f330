"""The runs of a service: what their records say is what becomes of them."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from fanfold.local.child_process import ProcessEnded
from fanfold.registry.changes import next_to_open
from fanfold.registry.details import last_closed
from fanfold.registry.record import RunRecord
from fanfold.registry.registry import Registry
from fanfold.schemas.events.coordinator import RoundClosed, RunStarted
from fanfold.schemas.run_messages import OpenRun
from fanfold.serving.ends import after
from fanfold.serving.run_processes import FromRun, RunProcesses
from fanfold.serving.software import software

UNTOLD = (
    "its task has no source file, so participants with --allow are not told of it; others take "
    "part with --federation {federation}.run.{run}"
)


class Runs:
    """Keeps records and coordinators in step. Belongs to the service's thread.

    A record is written before anything follows from it: a service that is killed in between does
    the rest after its next start.

    Args:
        registry: of the service.
        processes: the coordinators.
        federation: its name, for people.
        parallel_runs: how many may be open.
        write: makes a record durable, however long the disk takes.
        now: the time of day, for records.
        clock: seconds that only grow.
    """

    def __init__(
        self,
        registry: Registry,
        processes: RunProcesses,
        *,
        federation: str,
        parallel_runs: int,
        write: Callable[[RunRecord], None],
        now: Callable[[], datetime],
        clock: Callable[[], float],
    ) -> None:
        self.registry = registry
        self._processes = processes
        self._federation = federation
        self._parallel_runs = parallel_runs
        self._write = write
        self._now = now
        self._clock = clock
        self._records = {record.run: record for record in registry.all()}
        self._versions: dict[str, int] = {}
        self._start_at: dict[str, float] = {}

    @property
    def records(self) -> Mapping[str, RunRecord]:
        """All runs by name, in the order of their submission: a new one is put at the end."""
        return self._records

    @property
    def due_at(self) -> float:
        """When `tend` has something to do, on the clock."""
        return min(self._start_at.values(), default=float("inf"))

    @property
    def open(self) -> list[OpenRun]:
        """What participants are told: the runs that are open, and whose task is known."""
        return [
            OpenRun(run=record.run, task=record.task, task_sha256=record.task_sha256)
            for record in self._records.values()
            if record.state == "open" and record.task_sha256 is not None
        ]

    def version(self, run: str) -> int | None:
        """Return the newest version of a run that was told; None before the first round closed."""
        if run not in self._versions:
            closed = last_closed(self.registry.folder_of(run))
            if closed is None:
                return None
            self._versions[run] = closed.version
        return self._versions[run]

    def put(self, record: RunRecord) -> None:
        """Make a new or changed record durable, and let follow what follows from it."""
        self._write(record)
        self._records[record.run] = record
        self._follow(record)
        self.open_next()

    def remove(self, run: str, *, request: str) -> None:
        """Remove a run that has no coordinator, or is gone already.

        Raises:
            OSError: if the disk refuses.
        """
        self.registry.remove(run, request=request)
        self._records.pop(run, None)
        self._versions.pop(run, None)

    def has_coordinator(self, run: str) -> bool:
        """Whether a run's coordinator is at work, or has not ended yet."""
        return run in self._processes

    def begin(self) -> None:
        """Go on where an earlier service ended."""
        for record in list(self._records.values()):
            self._follow(record)
        self.open_next()

    def open_next(self) -> None:
        """Open the next runs of the queue, as many as may be."""
        waiting = [run for run in self._start_at if run not in self._processes]
        names = next_to_open(
            [record for record in self._records.values() if record.run not in self._processes],
            at_work=len(self._processes) + len(waiting),
            parallel_runs=self._parallel_runs,
        )
        for name in names:
            record = self._records[name]
            opened = record.opened_at or self._now()
            changes: dict[str, Any] = {"state": "open", "opened_at": opened, "reason": None}
            record = record.model_copy(update=changes | {"software": software()})
            self._write(record)
            self._records[name] = record
            self._follow(record)

    def tend(self) -> None:
        """Start the coordinators whose pause is over."""
        for run, at in list(self._start_at.items()):
            if at <= self._clock():
                del self._start_at[run]
                self._follow(self._records[run])
        self.open_next()

    def hear(self, news: FromRun) -> None:
        """Take what a coordinator tells, or its end."""
        if isinstance(news.told, ProcessEnded):
            self._ended(news.run, news.told)
            return
        self._processes.hear(news.run, news.told)
        match news.told:
            case RunStarted(run=run, task_sha256=sha256):
                record = self._records[news.run]
                reason = record.reason
                if sha256 is None and record.state == "open":
                    reason = UNTOLD.format(federation=self._federation, run=news.run)
                changes = {"coordinator_run": run, "task_sha256": sha256, "reason": reason}
                self.put(record.model_copy(update=changes))
            case RoundClosed(version=version):
                self._versions[news.run] = version

    def declined(self, run: str, participant: str, reason: str) -> None:
        """Note that a participant does not take part in a run, and why."""
        record = self._records.get(run)
        if record is not None and record.declined.get(participant) != reason:
            declined = {**record.declined, participant: reason}
            self.put(record.model_copy(update={"declined": declined}))

    def here_again(self, participant: str) -> None:
        """Forget what a participant declined before: it was started anew, and says it again."""
        for record in list(self._records.values()):
            if participant in record.declined and not record.is_over:
                left = {who: why for who, why in record.declined.items() if who != participant}
                self.put(record.model_copy(update={"declined": left}))

    def _ended(self, run: str, ended: ProcessEnded) -> None:
        ending = self._processes.ended(run, ended)
        record, what_next = after(self._records[run], ending, self._now())
        if what_next == "start again":
            self._start_at[run] = self._clock() + self._processes.pause_seconds(run)
        if record != self._records[run]:
            self.put(record)
        else:
            self._follow(record)
            self.open_next()

    def _follow(self, record: RunRecord) -> None:
        """Start or end the coordinator of a run, as its record says."""
        run = record.run
        is_finishing = record.state == "stopping"
        if run in self._processes:
            if not record.is_at_work or (is_finishing and not self._processes.finishes(run)):
                self._processes.end(run)
            return
        if not record.is_at_work:
            self._start_at.pop(run, None)
            return
        if run in self._start_at and not is_finishing:
            return
        self._start_at.pop(run, None)
        folder = self.registry.folder_of(run)
        if not is_finishing:
            self._processes.start(record, folder)
        elif version := self.version(run):
            self._processes.start(record, folder, rounds=version)
        else:  # it has learned nothing, and there is no model to write
            self.put(record.model_copy(update={"state": "stopped", "ended_at": self._now()}))

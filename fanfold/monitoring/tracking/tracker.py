"""Passes the events of runs on to experiment trackers, in a thread of its own.

A tracking server that hangs or is gone delays no round: what it does not take is lost, which is
told once, and the run goes on.
"""

import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Self

import structlog

from fanfold.monitoring.scalars import scalars_of
from fanfold.monitoring.tracking.mlflow_sink import MlflowSink
from fanfold.monitoring.tracking.sink import Sink, TrackedRun
from fanfold.monitoring.tracking.wandb_sink import WandbSink
from fanfold.schemas.events.commands import SimulationFinished, SimulationStarted
from fanfold.schemas.events.coordinator import RoundClosed, RunFinished, RunStarted
from fanfold.schemas.events.event import Event

MOST_WAITING = 100_000
"""Events that wait for a slow tracker; later ones are lost."""
CLOSE_SECONDS = 60.0
"""How long the end waits for what is still to be written."""

SettingsOf = Callable[[RunStarted | SimulationStarted], Mapping[str, Any]]
"""Returns the settings of a run that begins."""

log = structlog.get_logger()


class Tracker:
    """The trackers of one command. Use it as a context manager; `hear` is called in one thread.

    Args:
        specs: `mlflow:WHERE`, `wandb` or `wandb:PROJECT`, as `--track` takes them.
        folder: that of the run.
        settings_of: tells the settings of each run that begins.

    Raises:
        InvalidInputError: if a tracker is not installed or cannot be used.
    """

    def __init__(self, specs: Sequence[str], folder: Path, settings_of: SettingsOf) -> None:
        self._settings_of = settings_of
        self._sinks = {spec: _sink(spec, folder) for spec in specs}
        self._work: queue.Queue[Callable[[Sink], None] | None] = queue.Queue(MOST_WAITING)
        self._num_lost = 0
        self._thread = threading.Thread(target=self._write_all, name="tracking", daemon=True)

    def __enter__(self) -> Self:
        if self._sinks:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        if not self._sinks:
            return
        with suppress(queue.Full):  # then the thread hangs, which is told
            self._work.put(None, timeout=CLOSE_SECONDS)
        self._thread.join(CLOSE_SECONDS)
        if self._thread.is_alive() or self._num_lost:
            log.warning("not all was tracked: a tracker is too slow", lost=self._num_lost)

    def hear(self, event: Event) -> None:
        """Pass on beginnings and ends of runs, and the numbers of closed rounds."""
        if not self._sinks:
            return
        match event:
            case RunStarted() | SimulationStarted():
                # A simulation always begins anew, and every one of them has the same name.
                goes_on = isinstance(event, RunStarted)
                run = TrackedRun(event.run, self._settings_of(event), goes_on=goes_on)
                self._put(lambda sink: sink.begin(run))
            case RoundClosed():
                self._put(partial(_add, event.round, scalars_of(event)))
            case RunFinished() | SimulationFinished():
                summary = {"parameters_sha256": event.parameters_sha256, "reason": event.reason}
                told = {name: value for name, value in summary.items() if value is not None}
                self._put(lambda sink: sink.end(told))

    def _put(self, work: Callable[[Sink], None] | None) -> None:
        try:
            self._work.put_nowait(work)
        except queue.Full:
            self._num_lost += 1

    def _write_all(self) -> None:
        sinks = dict(self._sinks)
        is_over = False
        while not is_over:
            work = self._work.get()
            is_over = work is None
            for spec, sink in list(sinks.items()):
                try:
                    sink.close() if work is None else work(sink)
                except Exception as error:  # noqa: BLE001 - a tracker raises whatever it likes
                    reason = str(error).partition("\n")[0]
                    log.warning(
                        "this tracker gets nothing more, and the run goes on",
                        track=spec,
                        reason=f"{type(error).__name__}: {reason}",
                    )
                    del sinks[spec]


def _add(round_number: int, scalars: Mapping[str, float], sink: Sink) -> None:
    sink.add(round_number, scalars)


def _sink(spec: str, folder: Path) -> Sink:
    kind, _, where = spec.partition(":")
    return MlflowSink(where) if kind == "mlflow" else WandbSink(where, folder)

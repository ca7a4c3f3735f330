"""Starts the services quickly: torch is imported once, and every service is a fork of this process.

A fork is a process like any other, also for kill -9. Orders are JSON lines on standard input;
processes that were started or have ended are reported as JSON lines on standard output.
"""

import ctypes
import json
import os
import select
import signal
import sys
import traceback
from pathlib import Path
from typing import Any

import fault_points
import padded_task
from chaos_witness import bear_witness
from phase_notes import PhaseNote, watch

import fanfold.coordinator.assembly
import fanfold.coordinator.metrics
import fanfold.keeper.assembly
import fanfold.keeper.observer
import fanfold.participant.assembly
import fanfold.participant.metrics
from fanfold.cli.commands import main as command_line

LOADED = [
    module.__name__
    for module in (
        padded_task,
        fanfold.coordinator.metrics,
        fanfold.coordinator.assembly,
        fanfold.keeper.assembly,
        fanfold.keeper.observer,
        fanfold.participant.metrics,
        fanfold.participant.assembly,
    )
]
"""What every service needs, and what takes seconds to import."""
PR_SET_PDEATHSIG = 1


def main() -> None:
    """Fork what is ordered and report what ends, until standard input does."""
    signal.signal(signal.SIGCHLD, lambda *_: None)  # only to wake up
    waking, wake = os.pipe()
    os.set_blocking(wake, False)
    os.set_blocking(waking, False)
    signal.set_wakeup_fd(wake)
    _tell({"ready": LOADED})
    orders = b""
    while True:
        ready, _, _ = select.select([sys.stdin.fileno(), waking], [], [])
        if waking in ready:
            os.read(waking, 4096)
        _report_ended()
        if sys.stdin.fileno() in ready:
            more = os.read(sys.stdin.fileno(), 65536)
            if not more:
                return
            *lines, orders = (orders + more).split(b"\n")
            for line in lines:
                _start(json.loads(line), [waking, wake])


def _start(order: dict[str, Any], not_theirs: list[int]) -> None:
    pid = os.fork()
    if pid:
        _tell({"started": order["name"], "pid": pid})
        return
    code = 1
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for descriptor in not_theirs:
            os.close(descriptor)
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        _become(order)
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:  # the child must never return into the parent's loop
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _become(order: dict[str, Any]) -> None:
    os.environ.update(order["environment"])
    log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    events = os.open(order["events"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (events, 1), (log, 2)):
        os.dup2(source, target)
    watch(PhaseNote(Path(order["note"])), order["arguments"][0])
    if order["arguments"][0] == "participant":
        bear_witness(order["name"])
    if order["trouble"]:
        fault_points.prepare(order["trouble"])
    sys.argv = ["fanfold", *order["arguments"]]
    command_line()


def _report_ended() -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if not pid:
            return
        _tell({"ended": pid, "code": os.waitstatus_to_exitcode(status)})


def _tell(fields: dict[str, Any]) -> None:
    os.write(sys.stdout.fileno(), json.dumps(fields).encode() + b"\n")


if __name__ == "__main__":
    main()

"""Thousands of light participants in one process, each with a connection and a queue of its own.

    python -m benchmarks.crowd --federation F --count 1000      # broker from FANFOLD_BROKER_URL

Whenever all of them hear, it prints `{"hearing": N, "seconds": S}`, with the seconds since the
first of them ceased to.
"""

import json
import os
import signal
import time

import typer
from pika.adapters.select_connection import IOLoop

from benchmarks.answers import Answers
from benchmarks.crowd_member import CrowdMember
from fanfold.access.broker_environment import BROKER_VARIABLE
from fanfold.local.parent_watch import end_with_parent
from fanfold.schemas.names import FederationNames
from fanfold.transport.io.pika_patches import read_any_headers, read_in_larger_pieces

STARTS_A_SECOND = 200
"""As services come up one by one; who all start at once would measure their own handshakes."""


class Crowd:
    """Counts who hears. Everything happens in the thread of `run`."""

    def __init__(self, federation: str, indices: range, url: str) -> None:
        """Make them; nobody connects yet."""
        self._loop = IOLoop()
        self._count = len(indices)
        self._hearing = self._left = 0
        self._since = time.monotonic()
        answers, names = Answers(), FederationNames(federation)
        self._members = [
            CrowdMember(
                f"crowd-{index}",
                names,
                url,
                loop=self._loop,
                answers=answers,
                changed=self._changed,
                finished=self._finished,
            )
            for index in indices
        ]

    def run(self) -> None:
        """Take part until `stop`."""
        for index, member in enumerate(self._members):
            self._loop.call_later(index / STARTS_A_SECOND, member.start)
        self._loop.start()

    def stop(self) -> None:
        """Have everybody leave; for a signal handler."""
        self._loop.add_callback_threadsafe(self._stop)

    def _stop(self) -> None:
        for member in self._members:
            member.stop()

    def _changed(self, hears: bool) -> None:
        if not hears and self._hearing == self._count:
            self._since = time.monotonic()
        self._hearing += 1 if hears else -1
        if self._hearing == self._count:
            seconds = round(time.monotonic() - self._since, 3)
            print(json.dumps({"hearing": self._count, "seconds": seconds}), flush=True)

    def _finished(self) -> None:
        self._left += 1
        if self._left == self._count:
            self._loop.stop()


def main(federation: str = "fanfold", count: int = 1000, first: int = 0) -> None:
    """Run that many participants in this process until SIGTERM, `crowd-FIRST` and those after."""
    read_in_larger_pieces()
    read_any_headers()
    crowd = Crowd(federation, range(first, first + count), os.environ[BROKER_VARIABLE].split()[0])
    signal.signal(signal.SIGTERM, lambda *_: crowd.stop())
    end_with_parent()  # the benchmark that started this process may be killed
    crowd.run()


if __name__ == "__main__":
    typer.run(main)

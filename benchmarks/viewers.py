"""What three open pages cost: rounds that are watched beside rounds that are not, by turns.

`fanfold page` runs beside the coordinator as it does in `fanfold serve`, in a process of its own.
Viewers read the page's stream as a browser does; they draw nothing, for a browser has a machine of
its own.

    python -m benchmarks.viewers
"""

import json
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain, pairwise
from pathlib import Path
from urllib.parse import urlsplit

import typer

from benchmarks.federation import ROOT, broker, ended, federation
from benchmarks.results import Row, machine, quartiles, report

TASK = "benchmarks.identity:Small"
MOST_RATIO = 1.02
AT_ONCE = 1 << 16
LEFT_OUT = 5
"""Rounds of each turn: the first frame of a page holds all that is known."""


@dataclass(slots=True)
class Viewers:
    """Reads the stream of a run in so many browsers' place, while it is told to."""

    url: str
    count: int
    frames: int = 0
    """That came to all of them."""
    _open: list[socket.socket] = field(default_factory=list)

    def come(self) -> None:
        """Open the page."""
        address = urlsplit(self.url)
        request = f"GET {address.path}/stream HTTP/1.1\r\nHost: {address.netloc}\r\n\r\n"
        for _ in range(self.count):
            connection = socket.create_connection((address.hostname, address.port))
            connection.sendall(request.encode())
            threading.Thread(target=self._read, args=(connection,), daemon=True).start()
            self._open.append(connection)

    def go(self) -> None:
        """Close it; the readers end with their connections."""
        while self._open:
            self._open.pop().shutdown(socket.SHUT_RDWR)

    def _read(self, connection: socket.socket) -> None:
        with connection:
            while some := connection.recv(AT_ONCE):
                self.frames += some.count(b"data: ")


@contextmanager
def page(folder: Path) -> Iterator[str]:
    """Serve the page of a run's folder, and yield the run's address."""
    command = [sys.executable, "-m", "fanfold", "page", str(folder), "--port=0", "--json"]
    server = subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with ended(server):
        assert server.stdout is not None
        url = json.loads(server.stdout.readline())["url"]
        yield f"{url}runs/{folder.name}"


@dataclass(slots=True)
class Turns:
    """Lets viewers come and go between rounds, and takes the time of each round."""

    viewers: Viewers
    rounds: int
    """In one turn."""
    plain: list[list[float]] = field(default_factory=list)
    """By turn; the first and the last turn are such ones."""
    watched: list[list[float]] = field(default_factory=list)
    _turn: list[float] = field(default_factory=list)
    _closed_at: float = 0.0

    def closed(self, number: int) -> None:
        """Take the time of a round; the first ones of a turn are left out."""
        now = time.perf_counter()
        place = number % self.rounds
        if place > LEFT_OUT:
            self._turn.append(now - self._closed_at)
        if place == 0:
            self._end_turn()
        self._closed_at = time.perf_counter()

    def _end_turn(self) -> None:
        if len(self.plain) > len(self.watched):
            self.viewers.go()
            self.watched.append(self._turn)
        else:
            self.viewers.come()
            self.plain.append(self._turn)
        self._turn = []

    @property
    def ratios(self) -> list[float]:
        """The middle round of each watched turn to those of the turns before and after."""
        plain = [statistics.median(each) for each in self.plain]
        return [
            2 * statistics.median(each) / sum(beside)
            for each, beside in zip(self.watched, pairwise(plain), strict=True)
        ]


def main(participants: int = 64, viewers: int = 3, rounds: int = 40, turns: int = 10) -> None:
    """Compare watched rounds with others of the same run, so many turns of each."""
    title = f"{viewers} pages open beside none, {participants} participants ({machine()})"
    with (
        tempfile.TemporaryDirectory() as place,
        broker() as url,
        federation(url, TASK, participants, kind="light") as started,
        page(Path(place)) as address,
    ):
        watching = Turns(Viewers(address, viewers), rounds)
        started.run((2 * turns + 1) * rounds, out=Path(place), closed=watching.closed)
        watching.viewers.go()
    ratios = watching.ratios
    ours, floor = (list(chain(*each)) for each in (watching.watched, watching.plain))
    row = Row(
        f"a round among {participants}, {viewers} pages open",
        statistics.median(ours),
        "s/round",
        floor=statistics.median(ours) / statistics.median(ratios),
        limit=f"x{MOST_RATIO}",
        details={
            "ours": quartiles(ours),
            "floor": quartiles(floor),
            "ratio_by_turns": quartiles(ratios),
            "frames": watching.viewers.frames,
        },
    )
    report("bench-viewers", [row], title=title)
    if statistics.median(ratios) > MOST_RATIO:
        sys.exit("bench-viewers: watched rounds take longer than is promised")


if __name__ == "__main__":
    typer.run(main)

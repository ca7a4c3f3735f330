"""A thousand participants as a tree of ten regions, beside the same thousand under one coordinator.

All of it on one broker of this machine, in fixed point: the flat run, the tree, and the tree whose
coordinators are killed after every round have to end with the same bits.
"""

import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import typer

from benchmarks.federation import CoordinatorFailedError, Federation, Rounds, ended
from benchmarks.processes import allow_open_files
from benchmarks.results import Row, machine, quartiles, report
from benchmarks.thousand import FILES_EACH, crowd
from tests.nodes import BrokerNode

TASK = "benchmarks.identity:Small"
MODEL_BYTES = 263_400
FLAGS = ("--encoding=fixed:12", "--deadline-seconds=600")
"""The bits are said, for they would depend on how many updates the root waits for."""


class Tree:
    """A root whose participants are regions, each with a crowd of its own."""

    def __init__(self, url: str, out: Path, *, regions: int, participants: int, name: str) -> None:
        """Start the regions."""
        self._out = out
        self._share = participants // regions
        self._root = Federation(url, TASK, regions, name=name)
        self._names = [f"{name}-{index}" for index in range(regions)]
        self.processes = [self._start(each) for each in self._names]

    def run(self, rounds: int, *, kills: int = 0) -> Rounds:
        """Run so many rounds at the root; after each of the first, one coordinator is killed."""
        chance = random.Random(0)

        def closed(number: int) -> None:
            if number > kills:
                return
            time.sleep(chance.uniform(0, 2))  # anywhere in the rounds that follow
            place = number % (len(self._names) + 1)
            if place == len(self._names):
                assert self._root.coordinator is not None  # it has just told of a round
                self._root.coordinator.kill()
            else:
                self.processes[place].kill()
                self.processes[place].wait()
                self.processes[place] = self._start(self._names[place])

        while True:
            try:
                return self._root.run(
                    rounds,
                    *(*FLAGS, f"--max-region-updates={self._share}"),
                    out=self._out / "root",
                    closed=closed,
                )
            except CoordinatorFailedError as error:
                if error.code != -signal.SIGKILL:
                    raise

    def end(self) -> None:
        """End the regions, all at once."""
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            with ended(process):
                pass

    def _start(self, name: str) -> "subprocess.Popen[bytes]":
        return self._root.start_region(name, self._out, self._share)


@contextmanager
def tree(node: BrokerNode, name: str, regions: int, participants: int) -> Iterator[Tree]:
    """Start regions and their participants, and end them when the block ends."""
    with ExitStack() as stack:
        out = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        started = Tree(node.url, out, regions=regions, participants=participants, name=name)
        stack.callback(started.end)
        share = participants // regions
        for index in range(regions):
            stack.enter_context(crowd(node, share, name=f"{name}-{index}", first=index * share))
        yield started


def main(participants: int = 1000, regions: int = 10, rounds: int = 22, kills: int = 20) -> None:
    """Compare the flat run with the tree, undisturbed and with its coordinators killed."""
    allow_open_files(FILES_EACH * participants)
    title = f"{participants} participants in {regions} regions ({machine()})"
    with BrokerNode.start() as node:
        with crowd(node, participants, name="flat") as (flat, _):
            expected = flat.run(rounds, *FLAGS)
        with tree(node, "tree", regions, participants) as undisturbed:
            found = undisturbed.run(rounds)
        with tree(node, "killed", regions, participants) as disturbed:
            after_kills = disturbed.run(rounds, kills=kills)
    rows = [
        Row(
            f"{participants} participants in {regions} regions, on one machine",
            statistics.median(found.seconds),
            "s/round",
            peer=statistics.median(expected.seconds),
            details={"ours": quartiles(found.seconds), "peer": quartiles(expected.seconds)},
        ),
        Row(
            "models that the root sends for a version",
            models_sent(found),
            "models",
            peer=models_sent(expected),
            limit=f"{regions}",
        ),
    ]
    report("bench-tree", rows, title=title)
    hashes = [digest_of(each) for each in (expected, found, after_kills)]
    print(f"parameters_sha256, flat: {hashes[0]}, tree: {hashes[1]}, {kills} kills: {hashes[2]}")
    if len(set(hashes)) > 1:
        sys.exit("bench-tree: the models differ: an update was lost, or counted twice")


def models_sent(run: Rounds) -> float:
    """Return how many models a coordinator sends for a version, from the bytes of its rounds."""
    closed = [event["bytes_down"] for event in run.events if event["event"] == "round_closed"]
    return statistics.median(closed) / MODEL_BYTES


def digest_of(run: Rounds) -> str:
    """Return the `parameters_sha256` of the last model."""
    (digest,) = {
        event["parameters_sha256"] for event in run.events if event["event"] == "run_finished"
    }
    return str(digest)


if __name__ == "__main__":
    typer.run(main)

"""The cost of one slow participant: rounds that wait for all, against rounds that do not.

    python -m benchmarks.stragglers

Nine participant processes over a broker. A training takes 1 s at eight of them and 10 s at the
ninth; most of it is sleeping, so that the cores are not the bottleneck. `sync` closes a round when
all nine have answered, `buffered` when eight have; the slow one's update then counts by its
staleness. The time from the publication of version 0 to the first evaluation with the wanted
accuracy is measured. The participants keep running from run to run.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from benchmarks.federation import LEAVE_SECONDS, ROOT, ended
from benchmarks.padded import VARIABLE
from benchmarks.results import Row, machine, report
from fanfold.access.broker_environment import BROKER_VARIABLE
from fanfold.local.broker_node import BrokerNode
from fanfold.local.parent_watch import VARIABLE as END_WITH_PARENT

TASK = "benchmarks.padded:PaddedDigits"
PICTURE = ROOT / "docs" / "images" / "stragglers.png"
FAST, FAST_SECONDS, SLOW_SECONDS = 8, 1.0, 10.0
ACCURACY = 0.93
SEEDS = (0, 1, 2)
MODES = {"sync": ("--mode=sync",), "buffered": ("--mode=buffered", f"--goal={FAST}")}
PROMISED = 3.3
"""How many times faster than synchronous rounds, as FedBuff's paper found (Nguyen et al. 2022)."""
TRAINING = ("--epochs=2", "--batch-size=16", "--lr=0.02", "--momentum=0.9", "--threads=1")


@dataclass(frozen=True, slots=True)
class Curve:
    """Accuracy over time in one run."""

    seconds: list[float]
    accuracies: list[float]


def participants(stack: ExitStack, environment: dict[str, str]) -> None:
    """Start eight fast participants and a slow one, each with a ninth of the data."""
    for index in range(FAST + 1):
        lasts = FAST_SECONDS if index < FAST else SLOW_SECONDS
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "fanfold", "participant", f"--task={TASK}"),
                *(f"--id=participant-{index}", f"--partition-index={index}"),
                *(f"--num-partitions={FAST + 1}", "--progress-seconds=1"),
            ],
            env=environment | {VARIABLE: str(lasts)},
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
        )
        stack.enter_context(ended(process))


def run(mode: str, seed: int, environment: dict[str, str]) -> Curve:
    """Run a coordinator until the accuracy is reached."""
    with tempfile.TemporaryDirectory() as out:
        coordinator = subprocess.Popen(
            [
                *(sys.executable, "-m", "fanfold", "coordinator", "--json", f"--task={TASK}"),
                *(f"--out={out}", f"--seed={seed}", f"--min-participants={FAST + 1}"),
                *("--rounds=200", f"--until-accuracy={ACCURACY}", *MODES[mode], *TRAINING),
            ],
            env=environment,
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        with ended(coordinator):
            assert coordinator.stdout is not None  # started with a pipe
            curve = Curve([], [])
            began = 0.0
            for line in coordinator.stdout:
                event = json.loads(line)
                if event["event"] == "round_closed":
                    if not curve.seconds:
                        began = time.monotonic() - event["seconds"]
                    curve.seconds.append(time.monotonic() - began)
                    curve.accuracies.append(event["accuracy"])
            if coordinator.wait(LEAVE_SECONDS) != 0:
                raise RuntimeError("the coordinator failed")
    return curve


def draw(curves: dict[str, list[Curve]], picture: Path) -> None:
    """Write a PNG: one colour for each mode, one line for each seed."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - slow to import

    figure = Figure(figsize=(8.0, 4.5), dpi=110, layout="constrained")
    axes = figure.add_subplot()
    for number, (mode, runs) in enumerate(curves.items()):
        for seed, curve in enumerate(runs):
            label = mode if seed == 0 else None
            axes.plot(curve.seconds, curve.accuracies, f"C{number}.-", label=label, linewidth=1.2)
    axes.axhline(ACCURACY, color="grey", linestyle=":", linewidth=1)
    axes.set_xlabel("time (s)")
    axes.set_ylabel("accuracy on held-out data")
    axes.set_title("8 participants train 1 s, one trains 10 s; digits, 3 seeds", fontsize="medium")
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    figure.savefig(picture, format="png")


def main() -> None:
    """Measure, print the table, write the JSON and the picture."""
    parser = argparse.ArgumentParser(description="What does one slow participant cost?")
    parser.add_argument("--picture", type=Path, default=PICTURE)
    picture: Path = parser.parse_args().picture
    print(machine())
    curves: dict[str, list[Curve]] = {mode: [] for mode in MODES}
    with ExitStack() as stack:
        node = stack.enter_context(BrokerNode.start())
        environment = os.environ | {BROKER_VARIABLE: node.url, END_WITH_PARENT: "1"}
        participants(stack, environment)
        for seed in SEEDS:
            for mode, runs in curves.items():
                runs.append(run(mode, seed, environment))
                print(f"seed {seed}, {mode}: {ACCURACY} after {runs[-1].seconds[-1]:.1f} s")
                time.sleep(SLOW_SECONDS)  # the slow participant may still be training
    seconds = {mode: [each.seconds[-1] for each in runs] for mode, runs in curves.items()}
    rounds = {mode: [len(each.seconds) for each in runs] for mode, runs in curves.items()}
    row = Row(
        f"time to {ACCURACY} with one of {FAST + 1} ten times slower: buffered, beside sync",
        ours=statistics.median(seconds["buffered"]),
        peer=statistics.median(seconds["sync"]),
        unit="s",
        limit=f"sync/buffered at least {PROMISED}",
        details={"seconds": seconds, "rounds": rounds, "machine": machine()},
    )
    draw(curves, picture)
    report("bench-stragglers", [row], title="Stragglers")
    if row.to_ours is None or row.to_ours < PROMISED:
        sys.exit(f"less than {PROMISED} times faster")


if __name__ == "__main__":
    main()

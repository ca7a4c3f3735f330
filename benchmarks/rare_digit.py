"""What each mode makes of a digit that only a slow participant has: time, accuracy, recall of it.

Nine participants of the digits in simulated time; the nines are all with the last one, which is ten
times slower. Medians of seeds, and a picture for `docs/asynchrony.md`.
"""

import statistics
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import torch
import typer
from torch import nn
from torch.utils.data import TensorDataset

from benchmarks.results import Row, report
from fanfold.coordinator.persistence.history import read_history
from fanfold.coordinator.settings import RoundSettings
from fanfold.learning.digits import NUM_TRAIN, Digits, load_digits
from fanfold.simulation.settings import SimulationSettings
from fanfold.simulation.simulate import run

PARTICIPANTS = 9
RARE = 9
GOOD_ENOUGH = 0.93
PICTURE = Path(__file__).parent.parent / "docs" / "images" / "rare-digit.png"
Point = tuple[float, float, float]
"""Simulated seconds, accuracy, recall of the rare digit."""


class RareDigit(Digits):
    """The last participant has all nines and nothing else, the others the rest evenly."""

    def train_data(self) -> TensorDataset:
        """Return a participant's share."""
        images, labels = (each[:NUM_TRAIN] for each in load_digits())
        rare, common = labels == RARE, (labels != RARE).nonzero().squeeze(1)
        if self.partition_index == PARTICIPANTS - 1:
            return TensorDataset(images[rare], labels[rare])
        part = common[self.partition_index :: PARTICIPANTS - 1]
        return TensorDataset(images[part], labels[part])

    def evaluate(self, network: nn.Module, data: Any) -> dict[str, float]:
        """Add the recall of the rare digit."""
        images, labels = load_digits()
        chosen = (labels == RARE).nonzero().squeeze(1)
        chosen = chosen[chosen >= NUM_TRAIN]
        with torch.no_grad():
            guessed = network.eval()(images[chosen]).argmax(dim=1)
        recall = float((guessed == RARE).double().mean())
        return super().evaluate(network, data) | {"recall": recall}


def curve(
    mode: str, seed: int, seconds: float, *, lr: float, momentum: float, steps: int, goal: int
) -> list[Point]:
    """Simulate one run, and return what its versions were worth."""
    with TemporaryDirectory() as folder:
        settings = SimulationSettings(
            participants=PARTICIPANTS,
            speeds=f"every:{PARTICIPANTS}:10",
            example_seconds=0.01,
            simulated_hours=seconds / 3600,
            evaluate_seconds=1.0,
            plot=False,
            mode=(mode,),
            out=Path(folder),
            device="cpu",
        )

        def rounds_of(_mode: str) -> RoundSettings:
            return RoundSettings(
                task="benchmarks.rare_digit:RareDigit",
                mode=mode,  # type: ignore[arg-type]  # one of those there are
                goal=goal,
                rounds=1_000_000,
                seed=seed,
                lr=lr,
                momentum=momentum,
                steps=steps,
                max_staleness=200,
                threads=1,
            )

        run(settings, rounds_of, say=lambda *_: None, on_ready=lambda _: None)
        points, clock = [], 0.0
        for record in read_history(Path(folder) / mode / "history.jsonl"):
            if record["event"] == "round_closed":
                clock += record["seconds"]
                if record["accuracy"] is not None:
                    points.append((clock, record["accuracy"], record["metrics"]["recall"]))
        return points


def first_time(points: list[Point], accuracy: float) -> float:
    """Return when an accuracy was reached first; infinite where it was not."""
    return next((time for time, reached, _ in points if reached >= accuracy), float("inf"))


def recall_at(points: list[Point], time: float) -> float:
    """Return the recall of the newest version at a time."""
    return [recall for at, _, recall in points if at <= time][-1]


def draw(curves: dict[str, list[Point]], picture: Path) -> None:
    """Draw accuracy and recall over time."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - slow to import

    figure = Figure(figsize=(8.0, 3.6), dpi=110, layout="constrained")
    for index, what in enumerate(("accuracy", "recall of the nine"), start=1):
        axes = figure.add_subplot(1, 2, index)
        for label, points in curves.items():
            axes.plot([each[0] for each in points], [each[index] for each in points], label=label)
        axes.set_xlabel("simulated seconds")
        axes.set_ylabel(what)
        axes.grid(alpha=0.3)
        axes.legend(frameon=False)
    figure.savefig(picture, format="png")


def main(
    *,
    seeds: Annotated[int, typer.Option(help="Seeds, from 0.")] = 3,
    seconds: Annotated[float, typer.Option(help="Simulated seconds of each run.")] = 150.0,
    lr: Annotated[float, typer.Option(help="Learning rate of local training.")] = 0.1,
    momentum: Annotated[float, typer.Option(help="Of local training.")] = 0.0,
    steps: Annotated[int, typer.Option(help="Local steps between two exchanges.")] = 1,
    goal: Annotated[int, typer.Option(help="Updates that close a round, in both modes.")] = 3,
) -> None:
    """Train both modes, print the medians, and draw the curves of the first seed."""
    torch.set_num_threads(1)
    times: dict[str, list[float]] = {"buffered": [], "exact": []}
    recalls: dict[str, list[float]] = {"buffered": [], "exact": []}
    drawn: dict[str, list[Point]] = {}
    for seed in range(seeds):
        curves = {
            mode: curve(mode, seed, seconds, lr=lr, momentum=momentum, steps=steps, goal=goal)
            for mode in times
        }
        drawn = drawn or curves
        best = max(curves["buffered"], key=lambda point: point[1])
        for mode, points in curves.items():
            times[mode].append(first_time(points, GOOD_ENOUGH))
            recalls[mode].append(recall_at(points, best[0]))
            top = max(each[1] for each in points)
            print(
                seed,
                mode,
                f"{times[mode][-1]:.1f} s, recall {recalls[mode][-1]:.3f}",
                f"best {top:.3f}",
                flush=True,
            )
    draw(drawn, PICTURE)
    exact_time, buffered_time = (statistics.median(times[mode]) for mode in ("exact", "buffered"))
    exact_recall, recall = (statistics.median(recalls[mode]) for mode in ("exact", "buffered"))
    report(
        "bench-rare-digit",
        [
            Row(
                f"time to {GOOD_ENOUGH}, exact beside buffered",
                exact_time,
                "s",
                floor=buffered_time,
                limit="buffered x1.2",
            ),
            Row(
                "recall of the nine when buffered is best",
                exact_recall,
                "of all nines",
                peer=recall,
                limit="0.90",
            ),
        ],
        title="A digit that only a slow participant has",
    )


if __name__ == "__main__":
    typer.run(main)

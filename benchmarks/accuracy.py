"""The accuracy of the article's recipe and of the demo, over the broker, against what is promised.

Each is a whole federation of processes, started with `fanfold local`. The floor is the same rounds
in one process, with the same trainer.
"""

import json
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass

import torch
import typer

from benchmarks.encodings import train
from benchmarks.results import Row, machine, quartiles, report
from fanfold.schemas.messages import TrainingPlan

ARTICLE = TrainingPlan(epochs=3, batch_size=128, lr=0.02, momentum=0.0)
ARTICLE_PARTICIPANTS, ARTICLE_ROUNDS = 8, 30
ARTICLE_FLAGS = ["--batch-size=128", "--epochs=3", "--lr=0.02", "--momentum=0"]
DEMO_PARTICIPANTS, DEMO_ROUNDS = 4, 20


@dataclass(frozen=True, slots=True)
class Promise:
    """Bounds of an accuracy, as fractions of 1."""

    least: float
    most: float = 1.0

    def __str__(self) -> str:
        return f"{100 * self.least:g} to {100 * self.most:g} %"

    def is_kept(self, accuracy: float) -> bool:
        """Return whether an accuracy lies within the bounds."""
        return self.least <= accuracy <= self.most


ARTICLE_PROMISE = Promise(0.905, 0.976)
"""The accuracy of the article's own loop in one process, over three seeds, give or take 0.02."""
DEMO_PROMISE, MEAN_PROMISE = Promise(0.95), Promise(0.96)


def over_the_broker(participants: int, rounds: int, seed: int, *flags: str) -> float:
    """Run `fanfold local` and return the accuracy in its last event."""
    with tempfile.TemporaryDirectory() as folder:
        ended = subprocess.run(
            [
                *(sys.executable, "-m", "fanfold", "local", "--json", f"--out={folder}"),
                *(f"--participants={participants}", f"--rounds={rounds}", f"--seed={seed}"),
                *flags,
            ],
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        )
    last = json.loads(ended.stdout.splitlines()[-1])
    return float(last["accuracy"])


def row(case: str, over_broker: list[float], in_memory: list[float], promise: Promise) -> Row:
    """Return the table's row for one promise, in percent."""
    return Row(
        case,
        ours=100 * statistics.mean(over_broker),
        floor=100 * statistics.mean(in_memory),
        unit="%",
        limit=str(promise),
        details={"accuracy": quartiles(over_broker), "by seed": over_broker},
    )


def broken(rows: list[tuple[Row, Promise]]) -> list[str]:
    """Return a sentence for every promise that is not kept."""
    return [
        f"{row.case}: {row.ours:.2f} % is not {promise}"
        for row, promise in rows
        if not promise.is_kept(row.ours / 100)
    ]


def main(seeds: int = 5) -> None:
    """Train, print the table, and exit with code 1 if a promise is not kept."""
    torch.set_num_threads(1)
    article = over_the_broker(ARTICLE_PARTICIPANTS, ARTICLE_ROUNDS, 0, *ARTICLE_FLAGS)
    reference = train(
        "float32", ARTICLE_ROUNDS, 0, num_participants=ARTICLE_PARTICIPANTS, recipe=ARTICLE
    )
    demos = [over_the_broker(DEMO_PARTICIPANTS, DEMO_ROUNDS, seed) for seed in range(seeds)]
    in_memory = [train("float32", DEMO_ROUNDS, seed).accuracy for seed in range(seeds)]
    rows = [
        (row(case, ours, floor, promise), promise)
        for case, ours, floor, promise in (
            ("the article's recipe, seed 0", [article], [reference.accuracy], ARTICLE_PROMISE),
            ("the demo, seed 0", demos[:1], in_memory[:1], DEMO_PROMISE),
            (f"the demo, mean of {seeds} seeds", demos, in_memory, MEAN_PROMISE),
        )
    ]
    report("bench-accuracy", [each for each, _ in rows], title=f"Accuracy ({machine()})")
    if sentences := broken(rows):
        sys.exit("; ".join(sentences))


if __name__ == "__main__":
    typer.run(main)

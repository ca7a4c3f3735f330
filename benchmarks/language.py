"""What tuning SmolLM2 together is worth: bytes of a round, the adapter, and held-out perplexity.

    cd examples/language
    PYTHONPATH=. python -m benchmarks.language --rounds 6 --steps 20

Four participants tune the example's model over a broker of their own; then each of them alone, on
its own share, with as many steps. peft opens the adapter of the run, and its logits are compared
with those of the network that was trained.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from language import FILE, SmolLM  # the example's module
from peft import PeftModel

import fanfold
from fanfold.learning import TrainingPlan, seeded, training_seed

PARTICIPANTS = 4
COMMON = {"batch_size": 2, "lr": 1e-3, "optimizer": "adamw"}


def federation(out: Path, rounds: int, steps: int) -> list[dict[str, Any]]:
    """Run the federation, and return its rounds as they were told."""
    options = {"rounds": rounds, "steps": steps, "participants": PARTICIPANTS, **COMMON}
    options |= {"out": out, "metric": "perplexity:min", "threads": 1, "deadline_seconds": 3600}
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
    command = [sys.executable, "-m", "fanfold", "local", "--task=language:SmolLM", *flags, "--json"]
    told = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    events = [json.loads(line) for line in told.splitlines()]
    return [event for event in events if event["event"] == "round_closed"]


def alone(index: int, steps: int) -> float:
    """Return the held-out perplexity after one participant's training without the others."""
    task = SmolLM(partition_index=index, num_partitions=PARTICIPANTS)
    network = task.network()
    with seeded(training_seed(0, 0, f"participant-{index}")):
        task.fit(network, task.train_data(), TrainingPlan(steps=steps, **COMMON))
    return float(task.evaluate(network, task.test_data())["perplexity"])


def difference(out: Path, tokens: torch.Tensor) -> tuple[float, float]:
    """Return the largest difference of logits, peft's to ours, and perplexity as peft has it."""
    task = SmolLM()
    ours = fanfold.load(out, task.network(), strict=False)
    opened = PeftModel.from_pretrained(task.model(), out / "model-adapter").eval()
    with torch.no_grad():
        apart = (ours(tokens).logits - opened(tokens).logits).abs().max()
    return float(apart), float(task.evaluate(opened, task.test_data())["perplexity"])


def main() -> None:
    """Measure, and print every number as it comes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--steps", type=int, default=20, help="of each participant in a round")
    given = parser.parse_args()
    print(f"base: {FILE}")
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        for closed in federation(out, given.rounds, given.steps):
            down, up = (closed[way] / PARTICIPANTS / 1e6 for way in ("bytes_down", "bytes_up"))
            print(f"round {closed['round']}: {down:.3f} MB down and {up:.3f} MB up for each")
        apart, together = difference(out, torch.arange(64)[None])
    print(f"peft opens the adapter: logits differ by {apart}, perplexity {together:.3f}")
    for index in range(PARTICIPANTS):
        perplexity = alone(index, given.rounds * given.steps)
        print(f"participant {index} alone, as many steps: perplexity {perplexity:.3f}", flush=True)


if __name__ == "__main__":
    main()

"""Facts about a small language model that four participants tune over the broker."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel

import fanfold
from fanfold.learning import TrainingPlan, seeded
from tests.learning.tiny_llama import TinyLlama, batch

pytestmark = [
    pytest.mark.slow,  # five processes that import transformers
    pytest.mark.timeout(400),
    pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing:FutureWarning"),
]

ROUNDS, STEPS, PARTICIPANTS = 4, 5, 4
B_BYTES = 4 * 2 * 4 * (32 + 16)
"""float32, two layers, rank 4, and what q and v of each give."""


def perplexity_alone(index: int) -> float:
    """Return what a participant reaches without the others, in as many steps."""
    task = TinyLlama(partition_index=index, num_partitions=PARTICIPANTS)
    network, data = task.network(), task.test_data()
    held_out: Any = data
    private: Any = task.train_data()
    plan = TrainingPlan(steps=ROUNDS * STEPS, batch_size=4, lr=0.5)
    with seeded(index):
        task.fit(network, private, plan)
    return task.evaluate(network, held_out)["perplexity"]


def test_four_tune_an_adapter_that_peft_opens(
    broker_url: str, federation: str, tmp_path: Path
) -> None:
    """B alone travels; no logit differs; and together they are better than the best alone."""
    flags = [f"--rounds={ROUNDS}", f"--steps={STEPS}", "--batch-size=4", "--lr=0.5"]
    flags += [f"--federation={federation}", f"--out={tmp_path / 'run'}", f"--broker={broker_url}"]
    task = f"--task={TinyLlama.__module__}:TinyLlama"
    ended = subprocess.run(
        [sys.executable, "-m", "fanfold", "local", task, *flags, "--device=cpu", "--json"],
        cwd=Path(__file__).parents[2],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    told = [json.loads(line) for line in ended.stdout.splitlines()]
    closed = [event for event in told if event["event"] == "round_closed"]
    assert [event["updates"] for event in closed] == [PARTICIPANTS] * ROUNDS
    for way in ("bytes_down", "bytes_up"):
        assert all(event[way] < PARTICIPANTS * (B_BYTES + 2_500) for event in closed)
    ours = fanfold.load(tmp_path / "run", TinyLlama().network(), strict=False)
    theirs = PeftModel.from_pretrained(TinyLlama().model(), tmp_path / "run" / "model-adapter")
    with torch.no_grad():
        assert ours(batch()).logits.equal(theirs.eval()(batch()).logits)
    held_out: Any = TinyLlama().test_data()
    together = TinyLlama().evaluate(theirs, held_out)["perplexity"]
    assert together < min(perplexity_alone(index) for index in range(PARTICIPANTS))

"""What `HFTask` costs: a step of its LoRA training beside a plain loop with peft.

    python -m benchmarks.lora [--device cuda] [--hidden 576 --layers 30]

The model is a Llama of random weights, by default of the shape of SmolLM2-135M. Both loops draw the
same examples with a DataLoader, in the same order of work; the turns alternate, so that whatever
slows the machine down slows both. Needs torch, transformers and peft, and no broker.
"""

import argparse
import statistics
import time
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from torch.utils.data import DataLoader
from transformers import LlamaConfig, LlamaForCausalLM

from fanfold.learning import Execution, TrainingPlan
from fanfold.learning.hugging_face import HFTask

LR = 1e-3


class Tokens(HFTask):
    """Random token ids of one length, so that there is nothing to measure but the step."""

    def __init__(self, shape: argparse.Namespace) -> None:
        super().__init__()
        self.shape = shape

    def model(self) -> Any:
        """Return the Llama."""
        torch.manual_seed(0)
        heads = self.shape.hidden // 64 or 1
        return LlamaForCausalLM(
            LlamaConfig(
                vocab_size=self.shape.vocabulary,
                hidden_size=self.shape.hidden,
                intermediate_size=self.shape.hidden * 8 // 3,
                num_hidden_layers=self.shape.layers,
                num_attention_heads=heads,
                num_key_value_heads=heads // 3 or 1,
                tie_word_embeddings=True,
            )
        )

    def processor(self) -> None:
        """Return none: the ids are there already."""

    def train_data(self) -> Any:
        """Return dicts of ids and labels, [length] each."""
        rows = torch.randint(self.shape.vocabulary, (64 * self.shape.batch, self.shape.length))
        return [{"input_ids": row, "labels": row} for row in rows]

    def collate(self, examples: list[Any]) -> dict[str, torch.Tensor]:
        """Stack them."""
        return {name: torch.stack([each[name] for each in examples]) for name in examples[0]}


def plain(task: Tokens, network: Any, data: Any, steps: int, device: torch.device) -> None:
    """Train as the documentation of peft does."""
    loader = DataLoader(
        data,
        task.shape.batch,
        shuffle=True,
        collate_fn=task.collate,
        pin_memory=device.type == "cuda",
    )
    optimizer = torch.optim.AdamW([each for each in network.parameters() if each.requires_grad], LR)
    network.train()
    for _, batch in zip(range(steps), loader, strict=False):
        moved = {name: each.to(device, non_blocking=True) for name, each in batch.items()}
        optimizer.zero_grad()
        network(**moved).loss.backward()
        optimizer.step()


def main() -> None:
    """Measure, and print the median seconds of a step in either loop."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    for name, default in {
        "hidden": 576,
        "layers": 30,
        "vocabulary": 49152,
        "batch": 8,
        "length": 256,
        "steps": 20,
        "turns": 7,
    }.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    shape = parser.parse_args()
    device = torch.device(shape.device)
    task = Tokens(shape)
    task.execution = Execution(device=device)
    data = task.train_data()
    ours = task.network().to(device)
    config = LoraConfig(r=task.rank, lora_alpha=task.alpha, task_type="CAUSAL_LM")
    theirs = get_peft_model(task.model(), config).to(device)
    for name, parameter in theirs.named_parameters():  # FFA-LoRA, as ours
        parameter.requires_grad_("lora_B" in name)
    plan = TrainingPlan(steps=shape.steps, batch_size=shape.batch, lr=LR, optimizer="adamw")
    seconds: dict[str, list[float]] = {"plain peft": [], "HFTask": []}
    for turn in range(shape.turns + 1):
        for name, times in seconds.items():
            began = time.perf_counter()
            if name == "HFTask":
                task.fit(ours, data, plan)
            else:
                plain(task, theirs, data, shape.steps, device)
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            if turn:  # the first one warms up
                times.append((time.perf_counter() - began) / shape.steps)
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    where = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    print(f"{where}, torch {torch.__version__}, batch {shape.batch} x {shape.length}")
    for name, median in medians.items():
        print(f"{name}: {median * 1e3:.2f} ms a step ({min(seconds[name]) * 1e3:.2f} at best)")
    print(f"HFTask / plain peft: {medians['HFTask'] / medians['plain peft']:.3f}")


if __name__ == "__main__":
    main()

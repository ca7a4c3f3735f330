"""The participant's training loop against loops as people write them.

On the CPU: a plain PyTorch loop over the same batches, without metrics. On a GPU, if there is one:
the loop of the article that this project started from, which reads the accuracy of every batch and
loads its data without worker processes.
"""

import statistics
import threading
import time
from collections.abc import Callable
from dataclasses import replace

import torch
import typer
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, Dataset, TensorDataset

from benchmarks.results import Row, machine, quartiles, report
from fanfold.learning import (
    Execution,
    FederatedNet,
    TrainingPlan,
    load_task,
    resident,
    use_huge_pages,
)

BATCH = 32
PLAN = TrainingPlan(epochs=1, batch_size=BATCH, lr=0.05, momentum=0.9)


def plain(network: nn.Module, inputs: Tensor, labels: Tensor, steps: int) -> None:
    """Train with the shortest loop there is: batches of the same size and tensors, no metrics."""
    optimizer = torch.optim.SGD(network.parameters(), lr=PLAN.lr, momentum=PLAN.momentum)
    for chosen in torch.randperm(len(inputs)).split(BATCH)[:steps]:
        loss = cross_entropy(network(inputs[chosen]), labels[chosen])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def article(network: nn.Module, data: Dataset[tuple[Tensor, ...]], device: torch.device) -> float:
    """Train with a loop as tutorials show it, and return the accuracy of its pass."""
    optimizer = torch.optim.SGD(network.parameters(), lr=PLAN.lr, momentum=PLAN.momentum)
    right = examples = 0.0
    for batch in DataLoader(data, BATCH, shuffle=True):
        inputs, labels = (part.to(device) for part in batch)
        outputs = network(inputs)
        loss = cross_entropy(outputs, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        right += (outputs.argmax(1) == labels).float().sum().item()
        examples += len(labels)
    return right / examples


def seconds(work: Callable[[], object], device: torch.device) -> float:
    """Time one pass: on a GPU the wall-clock time until its work is done, else processor time.

    With one thread the two are the same on an idle machine; on a busy one, only processor time
    says something about the loop.
    """
    clock = time.process_time if device.type == "cpu" else time.perf_counter
    began = clock()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return clock() - began


def compare(
    ours: Callable[[], object], other: Callable[[], object], pairs: int, device: torch.device
) -> tuple[list[float], list[float]]:
    """Time both alternately and return their seconds, without those of the first pair.

    In every other pair the other one goes first.
    """
    times: tuple[list[float], list[float]] = ([], [])
    for pair in range(pairs + 1):
        order = (0, 1) if pair % 2 else (1, 0)
        for which in order:
            times[which].append(seconds((ours, other)[which], device))
    return times[0][1:], times[1][1:]


def on_cpu(pairs: int, steps: int) -> Row:
    """Train FederatedNet on the digits, with one thread."""
    torch.set_num_threads(1)
    device = torch.device("cpu")
    task = load_task("digits")()
    # With the hooks for stopping and progress that a participant sets.
    task.execution = Execution(
        device=device, should_stop=threading.Event().is_set, on_step=lambda *_: None
    )
    data = task.train_data()
    held = resident(data, device, 1 << 30)
    if not isinstance(held, TensorDataset):
        raise TypeError("the digits are no longer a TensorDataset")
    inputs, labels = held.tensors
    network, other = FederatedNet(), FederatedNet()
    plan = replace(PLAN, steps=steps)
    ours, theirs = compare(
        lambda: task.fit(network, held, plan),
        lambda: plain(other, inputs, labels, steps),
        pairs,
        device,
    )
    ratios = [mine / its for mine, its in zip(ours, theirs, strict=True)]
    return Row(
        "digits, CPU, 1 thread: against a plain loop",
        ours=statistics.median(ours),
        floor=statistics.median(theirs),
        unit=f"CPU s/{steps} steps",
        limit="floor x1.05",
        details={"ours": quartiles(ours), "floor": quartiles(theirs), "pairs": quartiles(ratios)},
    )


def on_gpu(pairs: int, examples: int) -> Row:
    """Train FederatedNet on artificial images of MNIST's size, which it can learn."""
    device = torch.device("cuda")
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(10, (examples,), generator=generator)
    patterns = torch.rand(10, 1, 28, 28, generator=generator)
    noise = torch.rand(examples, 1, 28, 28, generator=generator)
    data = TensorDataset(patterns[labels] + noise, labels)
    task = load_task("digits")()
    task.execution = Execution(device=device)
    held = resident(data, device, 2 << 30)
    torch.manual_seed(0)
    network, other = FederatedNet().to(device), FederatedNet().to(device)
    other.load_state_dict(network.state_dict())
    accuracies: list[tuple[float, float]] = []
    history: list[float] = []
    ours, theirs = compare(
        lambda: history.append(task.fit(network, held, PLAN)[-1]["accuracy"]),
        lambda: accuracies.append((0.0, article(other, data, device))),
        pairs,
        device,
    )
    return Row(
        "MNIST's size, GPU: against the article's loop",
        ours=statistics.median(ours),
        peer=statistics.median(theirs),
        unit="s/epoch",
        limit="article >= 5x",
        details={
            "ours": quartiles(ours),
            "peer": quartiles(theirs),
            "accuracy": [history[-1], accuracies[-1][1]],
            "device": torch.cuda.get_device_name(device),
        },
    )


def main(pairs: int = 21, steps: int = 20, gpu_pairs: int = 5, examples: int = 60_000) -> None:
    """Compare training loops."""
    use_huge_pages()
    rows = [on_cpu(pairs, steps)]
    if torch.cuda.is_available():
        rows.append(on_gpu(gpu_pairs, examples))
    report("bench-training", rows, title=f"Training loops ({machine()})")
    for row in rows:
        if "pairs" in row.details:
            low, median, high = row.details["pairs"]["quartiles"]
            print(f"ours/floor by pair: quartiles {low:.3f}, {median:.3f}, {high:.3f}")


if __name__ == "__main__":
    typer.run(main)

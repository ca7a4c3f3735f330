"""How many bytes of updates each encoding saves, and what it costs in accuracy, on the digits.

Rounds run in one process, through the functions that the services call: trainer, error feedback,
encoder, chunks, decoder, sum. The floor is float32.
"""

import statistics
from collections import Counter
from dataclasses import dataclass, field
from typing import Annotated

import torch
import typer
from torch import Tensor

from benchmarks.results import Row, machine, quartiles, report
from fanfold.coordinator.aggregation.initial_model import (
    global_tensors,
    initial_network,
    tensor_kinds,
)
from fanfold.coordinator.aggregation.running_sum import RunningSum
from fanfold.coordinator.aggregation.server_optimizer import ServerOptimizer, parse_optimizer
from fanfold.learning import Task, load_task, replace_tensors, shared_tensors
from fanfold.participant.trainer import Trainer
from fanfold.schemas.chunking import Assembly, cut
from fanfold.schemas.error_feedback import encode_update
from fanfold.schemas.errors import InvalidInputError
from fanfold.schemas.messages import TrainingPlan, Update
from fanfold.schemas.reader_limits import ReaderLimits
from fanfold.schemas.tensor_codec import decode_tensors

LIMITS = ReaderLimits(max_bytes=1 << 30)
PARTICIPANTS = 4
DIGEST = "0" * 64
PROMISED = {"int8": ("27 %", "1 point"), "topk:0.01": ("3 %", "2 points")}


@dataclass
class Result:
    """The result of one training."""

    accuracy: float
    num_bytes: Counter[str] = field(default_factory=Counter)


@dataclass
class Participant:
    """One trainer, and the values that top-k left out so far."""

    name: str
    trainer: Trainer
    residual: dict[str, Tensor] = field(default_factory=dict)

    def update(
        self, base: dict[str, Tensor], version: int, plan: TrainingPlan, encoding: str
    ) -> tuple[Update, dict[str, Tensor], int]:
        """Train, encode, cut, join and decode; return the update, its tensors and its wire size."""
        trained = self.trainer.train(base, version=version, plan=plan, owed=self.residual)
        message = Update(
            run="bench",
            participant=self.name,
            base_version=version,
            base_digest=DIGEST,
            num_examples=trained.num_examples,
        )
        encoded, self.residual = encode_update(
            message, trained.tensors, self.residual, kinds=trained.kinds, encoding=encoding
        )
        chunks = cut(encoded)
        assembly = Assembly(chunks[0].header, LIMITS)
        for chunk in chunks:
            assembly.add(chunk.header, chunk.body)
        return message, decode_tensors(assembly.decode()), encoded.num_bytes


def train(
    encoding: str,
    rounds: int,
    seed: int,
    *,
    num_participants: int = PARTICIPANTS,
    recipe: TrainingPlan | None = None,
) -> Result:
    """Federate the digits and return the accuracy of the last version.

    `recipe` is how participants train; None is the command line's defaults.
    """
    own = {"seed": seed, "threads": torch.get_num_threads()}
    plan = (recipe or TrainingPlan()).model_copy(update=own)
    tasks = [
        load_task("digits")(partition_index=index, num_partitions=num_participants, seed=seed)
        for index in range(num_participants)
    ]
    network = initial_network(tasks[0], seed)
    tensors = global_tensors(tasks[0], network)
    kinds = tensor_kinds(network, tensors)
    optimizer = ServerOptimizer(parse_optimizer("sgd"), tensors, kinds)
    participants = [
        Participant(f"participant-{index}", Trainer(task, f"participant-{index}", seed=seed))
        for index, task in enumerate(tasks)
    ]
    result = Result(0.0)
    for version in range(rounds):
        total = RunningSum(tensors, kinds)
        for participant in participants:
            update, sent, num_bytes = participant.update(tensors, version, plan, encoding)
            total.fold(sent, num_examples=update.num_examples, weight=1.0)
            result.num_bytes[encoding] += num_bytes
        optimizer.apply(total)
    replace_tensors(shared_tensors(network), tensors)
    result.accuracy = held_out_accuracy(tasks[0], network)
    return result


def held_out_accuracy(task: Task, network: torch.nn.Module) -> float:
    """Return the accuracy of a network on the held-out digits."""
    held_out = task.test_data()
    if held_out is None:
        raise InvalidInputError("the digits have held-out data")
    return task.evaluate(network, held_out)["accuracy"]


def main(
    rounds: int = 12,
    seeds: int = 5,
    encodings: Annotated[str, typer.Option(help="Separated by commas.")] = "int8,topk:0.01",
) -> None:
    """Compare encodings by bytes and accuracy; top-k gets twice the rounds."""
    torch.set_num_threads(2)
    title = f"Encodings on the digits, {PARTICIPANTS} participants, {seeds} seeds ({machine()})"
    rows = []
    baseline = [train("float32", rounds, seed) for seed in range(seeds)]
    accuracy = statistics.mean(result.accuracy for result in baseline)
    size = baseline[0].num_bytes["float32"] / rounds
    for encoding in encodings.split(","):
        factor = 2 if encoding.startswith("topk") else 1
        results = [train(encoding, factor * rounds, seed) for seed in range(seeds)]
        promised_size, promised_accuracy = PROMISED.get(encoding, ("", ""))
        accuracies = [result.accuracy for result in results]
        rows += [
            Row(
                f"{encoding}: bytes up in a round",
                ours=results[0].num_bytes[encoding] / (factor * rounds),
                floor=size,
                unit="B",
                limit=promised_size,
            ),
            Row(
                f"{encoding}: mean accuracy after {factor * rounds} rounds",
                ours=100 * statistics.mean(accuracies),
                floor=100 * accuracy,
                unit="%",
                limit=promised_accuracy and f"within {promised_accuracy}",
                details={"accuracy": quartiles(accuracies), "by seed": accuracies},
            ),
        ]
    report("bench-encodings", rows, title=title)


if __name__ == "__main__":
    typer.run(main)

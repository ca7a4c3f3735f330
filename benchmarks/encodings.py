"""How many bytes each encoding saves, up and down, and what it costs in accuracy, on the digits.

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
from fanfold.coordinator.aggregation.optimizer_spec import parse_optimizer
from fanfold.coordinator.aggregation.running_sum import RunningSum
from fanfold.coordinator.aggregation.server_optimizer import ServerOptimizer
from fanfold.learning import Task, load_task, replace_tensors, shared_tensors
from fanfold.participant.trainer import Trainer
from fanfold.schemas.chunking import Assembly, cut
from fanfold.schemas.encodings import difference_encoding, whole_encoding
from fanfold.schemas.error_feedback import encode_update
from fanfold.schemas.errors import InvalidInputError
from fanfold.schemas.message_codec import received
from fanfold.schemas.messages import GlobalParameters, TrainingPlan, Update
from fanfold.schemas.reader_limits import ReaderLimits
from fanfold.schemas.tensor_codec import decode_tensors, encode_tensors
from fanfold.schemas.tensor_table import Kind
from fanfold.schemas.version_difference import make_difference

LIMITS = ReaderLimits(max_bytes=1 << 30)
PARTICIPANTS = 4
DIGEST = "0" * 64
DOWN = "bytes down after the first version"
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
    down: str = "float32",
    num_participants: int = PARTICIPANTS,
    recipe: TrainingPlan | None = None,
) -> Result:
    """Federate the digits and return the accuracy of the last version.

    `down` is the encoding of versions, whole or as differences; `recipe` is how participants
    train, and None is the command line's defaults.
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
    published = dict(tensors)
    for version in range(rounds):
        total = RunningSum(tensors, kinds)
        num_bytes, published = _sent_down(version, tensors, published, kinds, down)
        result.num_bytes[DOWN] += num_bytes * num_participants if version else 0
        for participant in participants:
            update, sent, num_bytes = participant.update(published, version, plan, encoding)
            total.fold(sent, num_examples=update.num_examples, weight=1.0)
            result.num_bytes[encoding] += num_bytes
        optimizer.apply(total)
    replace_tensors(shared_tensors(network), tensors)
    result.accuracy = held_out_accuracy(tasks[0], network)
    return result


def _sent_down(
    version: int,
    tensors: dict[str, Tensor],
    held: dict[str, Tensor],
    kinds: dict[str, Kind],
    encoding: str,
) -> tuple[int, dict[str, Tensor]]:
    """Return how many bytes a version takes to each participant, and what it holds then."""
    message = GlobalParameters(run="bench", version=version, rounds=1, plan=TrainingPlan())
    if version and difference_encoding(encoding) is not None:
        difference = make_difference(message, tensors, held, kinds=kinds, encoding=encoding)
        return difference.named(base=DIGEST, digest=DIGEST).num_bytes, difference.sums
    encoded = encode_tensors(message, tensors, kinds=kinds, encoding=whole_encoding(encoding))
    return encoded.num_bytes, decode_tensors(received(encoded))


def held_out_accuracy(task: Task, network: torch.nn.Module) -> float:
    """Return the accuracy of a network on the held-out digits."""
    held_out = task.test_data()
    if held_out is None:
        raise InvalidInputError("the digits have held-out data")
    return task.evaluate(network, held_out)["accuracy"]


def main(
    rounds: int = 12,
    seeds: int = 5,
    encodings: Annotated[str, typer.Option(help="Of updates, separated by commas.")] = (
        "int8,topk:0.01"
    ),
    down: Annotated[str, typer.Option(help="Of versions, separated by commas.")] = (
        "difference:int8,difference:topk:0.1+int8"
    ),
) -> None:
    """Compare encodings by bytes and accuracy; top-k gets twice the rounds."""
    torch.set_num_threads(2)
    title = f"Encodings on the digits, {PARTICIPANTS} participants, {seeds} seeds ({machine()})"
    baseline = [train("float32", rounds, seed) for seed in range(seeds)]
    if encodings:
        rows = [
            row
            for encoding in encodings.split(",")
            for row in _rows(baseline, rounds, f"{encoding}: bytes up in a round", encoding)
        ]
        report("bench-encodings", rows, title=title)
    if down:
        rows = [
            row
            for encoding in down.split(",")
            for row in _rows(baseline, rounds, f"{encoding}: bytes down in a round", None, encoding)
        ]
        report("bench-differences", rows, title=title)


def _rows(
    baseline: list[Result], rounds: int, case: str, up: str | None, down: str = "float32"
) -> list[Row]:
    """Return bytes and accuracy of one encoding, of updates or of versions, beside float32."""
    name, counted = (up, up) if up else (down, DOWN)
    factor = 2 if "topk" in name else 1
    results = [
        train(up or "float32", factor * rounds, seed, down=down) for seed in range(len(baseline))
    ]
    promised_size, promised_accuracy = PROMISED.get(name, ("", ""))
    accuracies = [result.accuracy for result in results]
    left_out = 0 if up else 1  # the first version comes whole
    return [
        Row(
            case,
            ours=results[0].num_bytes[counted] / (factor * rounds - left_out),
            floor=baseline[0].num_bytes["float32" if up else DOWN] / (rounds - left_out),
            unit="B",
            limit=promised_size,
        ),
        Row(
            f"{name}: mean accuracy after {factor * rounds} rounds",
            ours=100 * statistics.mean(accuracies),
            floor=100 * statistics.mean(result.accuracy for result in baseline),
            unit="%",
            limit=promised_accuracy and f"within {promised_accuracy}",
            details={"accuracy": quartiles(accuracies), "by seed": accuracies},
        ),
    ]


if __name__ == "__main__":
    typer.run(main)

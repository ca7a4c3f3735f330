"""Which aggregation rule withstands which attack: digits, ten participants, two of them hostile.

Rounds run in one process, over the same `RunState` and rules as a coordinator's; the network is one
layer of 7,850 parameters. Two tables, of data split evenly and by Dirichlet 0.5: the loss of
accuracy against the undisturbed mean, in points, as the mean over seeds. Hostile participants know
what the honest ones send, as the attacks assume.
"""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Annotated, Any

import torch
import typer
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from benchmarks.results import Row, report
from fanfold.coordinator.aggregation.aggregation_settings import AggregationSettings
from fanfold.coordinator.aggregation.initial_model import initial_model
from fanfold.coordinator.aggregation.make_aggregation import make_aggregation
from fanfold.coordinator.aggregation.optimizer_spec import parse_optimizer
from fanfold.coordinator.aggregation.refusals import UpdateLimits
from fanfold.coordinator.aggregation.root_update import RootTrainer
from fanfold.coordinator.aggregation.run_state import RunState
from fanfold.coordinator.aggregation.staleness import parse_staleness
from fanfold.learning import replace_tensors, shared_tensors
from fanfold.learning.digits import NUM_TRAIN, Digits, load_digits
from fanfold.participant.trainer import Trainer
from fanfold.schemas.messages import TrainingPlan, Update

PARTICIPANTS, HOSTILE = 10, 2
ROOT_EXAMPLES = 100
"""Of the held-out images: trusted data of the coordinator. Accuracy is measured on the others."""
Updates = list[dict[str, Tensor]]
RULES = {
    "mean": AggregationSettings("mean"),
    "clip": AggregationSettings("clip"),
    "centered-clipping": AggregationSettings("centered-clipping"),
    "median": AggregationSettings("median"),
    "trimmed-mean:0.2": AggregationSettings("trimmed-mean:0.2"),
    "krum:2": AggregationSettings("krum:2"),
    "multi-krum:2:6": AggregationSettings("multi-krum:2:6"),
    "geometric-median": AggregationSettings("geometric-median"),
    "trimmed-mean:0.2, nnm:2": AggregationSettings("trimmed-mean:0.2", mixing="nnm:2"),
    "geometric-median, nnm:2": AggregationSettings("geometric-median", mixing="nnm:2"),
    "geometric-median, buckets 2": AggregationSettings("geometric-median", buckets=2),
    "fltrust": AggregationSettings("fltrust"),
}


class Trusted(Digits):
    """The digits, of whose held-out images the coordinator trusts some; one layer."""

    def network(self) -> nn.Module:
        """Return the layer, which begins at zero."""
        layer = nn.Linear(784, 10)
        nn.init.zeros_(layer.weight)
        nn.init.zeros_(layer.bias)
        return nn.Sequential(nn.Flatten(), layer)

    def test_data(self) -> TensorDataset:
        """Return the trusted images."""
        images, labels = load_digits()
        chosen = slice(NUM_TRAIN, NUM_TRAIN + ROOT_EXAMPLES)
        return TensorDataset(images[chosen], labels[chosen])


class Flipped(Trusted):
    """Every label is 9 less itself."""

    def train_data(self) -> TensorDataset:
        """Return the share with wrong labels."""
        images, labels = super().train_data().tensors
        return TensorDataset(images, 9 - labels)


def sign_flip(own: Updates, honest: Updates, generator: torch.Generator) -> Updates:
    """Send five times the opposite of what was learned."""
    del honest, generator
    return [{name: -5 * delta for name, delta in update.items()} for update in own]


def noise(own: Updates, honest: Updates, generator: torch.Generator) -> Updates:
    """Send what was learned and ten times as much noise."""
    del honest
    return [
        {
            name: delta + 10 * rms(delta) * torch.randn(delta.shape, generator=generator)
            for name, delta in update.items()
        }
        for update in own
    ]


def a_little_is_enough(own: Updates, honest: Updates, generator: torch.Generator) -> Updates:
    """Send the mean less 1.5 standard deviations of each coordinate (Baruch et al. 2019)."""
    del generator
    sent = {}
    for name in own[0]:
        stacked = torch.stack([update[name] for update in honest])
        sent[name] = stacked.mean(dim=0) - 1.5 * stacked.std(dim=0)
    return [sent] * len(own)


def inner_product(own: Updates, honest: Updates, generator: torch.Generator) -> Updates:
    """Send twice the opposite of the honest mean (Xie et al. 2020, Fall of Empires)."""
    del generator
    sent = {
        name: -2 * torch.stack([update[name] for update in honest]).mean(dim=0) for name in own[0]
    }
    return [sent] * len(own)


def as_trained(own: Updates, honest: Updates, generator: torch.Generator) -> Updates:
    """Send what was learned: of wrong labels, or honestly."""
    del honest, generator
    return own


ATTACKS: dict[str, Callable[[Updates, Updates, torch.Generator], Updates]] = {
    "sign flip x5": sign_flip,
    "label flip": as_trained,
    "noise": noise,
    "ALIE": a_little_is_enough,
    "inner product": inner_product,
}


@dataclass
class Field:
    """The participants of one seed and partition, trained once for all rules."""

    partition: str
    seed: int
    rounds: int

    def __post_init__(self) -> None:
        self.plan = TrainingPlan(lr=0.1, momentum=0.9, seed=self.seed, threads=1)
        self.honest = [Trainer(self._task(Trusted, i), f"p{i}") for i in range(PARTICIPANTS)]
        self.flipped = [Trainer(self._task(Flipped, i), f"p{i}") for i in range(HOSTILE)]
        images, labels = load_digits()
        self.images, self.labels = (each[NUM_TRAIN + ROOT_EXAMPLES :] for each in (images, labels))

    def _task(self, kind: type[Digits], index: int) -> Digits:
        return kind(
            partition_index=index,
            num_partitions=PARTICIPANTS,
            partition=self.partition,
            seed=self.seed,
        )

    def accuracy(self, settings: AggregationSettings, attack: str | None) -> float:
        """Train under a rule, hostile participants or not, and return the last accuracy."""
        task = Trusted(seed=self.seed)
        model = initial_model(task, self.seed)
        run = RunState(
            run_id="bench",
            tensors=model.tensors,
            kinds=model.kinds,
            staleness=parse_staleness("constant"),
            optimizer=parse_optimizer("sgd"),
            limits=UpdateLimits(),
            aggregation=make_aggregation(
                settings, root=lambda: RootTrainer(task, lambda _version: self.plan)
            ),
        )
        generator = torch.Generator().manual_seed(self.seed)
        for _ in range(self.rounds):
            run.announced(sha256(str(run.version).encode()).hexdigest())
            sent = self._updates(run.tensors, run.version, attack, generator)
            for index, tensors in enumerate(sent):
                self._fold(run, index, tensors)
            run.close_round()
        replace_tensors(shared_tensors(model.network, task.shared), run.tensors)
        with torch.no_grad():
            guessed = model.network.eval()(self.images).argmax(dim=1)
        return float((guessed == self.labels).double().mean())

    def _updates(
        self,
        base: Mapping[str, Tensor],
        version: int,
        attack: str | None,
        generator: torch.Generator,
    ) -> Updates:
        trainers = list(self.honest)
        if attack == "label flip":
            trainers[:HOSTILE] = self.flipped
        trained: list[dict[str, Tensor]] = [
            dict(each.train(base, version=version, plan=self.plan).tensors) for each in trainers
        ]
        if attack is None:
            return trained
        own, honest = trained[:HOSTILE], trained[HOSTILE:]
        return ATTACKS[attack](own, honest, generator) + honest

    def _fold(self, run: RunState, index: int, tensors: Mapping[str, Tensor]) -> None:
        digest = sha256(f"{run.version}/{index}".encode()).hexdigest()
        update = Update(
            run=run.run_id,
            participant=f"p{index}",
            base_version=run.version,
            base_digest=run.digests[run.version],
            num_examples=self.honest[index].num_examples,
        )
        run.fold(update, tensors, digest)


def rms(values: Tensor) -> float:
    """Return the root mean square."""
    return float(values.square().mean().sqrt())


def measured(partition: str, seeds: Sequence[int], rounds: int) -> tuple[float, dict[str, Any]]:
    """Return the undisturbed accuracy, and the loss of each rule under each attack, in points."""
    fields = [Field(partition, seed, rounds) for seed in seeds]
    undisturbed = [field.accuracy(RULES["mean"], None) for field in fields]
    losses: dict[str, Any] = {}
    for rule, settings in RULES.items():
        calm = [field.accuracy(settings, None) for field in fields]
        losses[rule] = {"no attack": points(undisturbed, calm)}
        for attack in ATTACKS:
            under = [field.accuracy(settings, attack) for field in fields]
            losses[rule][attack] = points(undisturbed, under)
            print(partition, rule, attack, f"{losses[rule][attack]:.1f}", flush=True)
    return statistics.mean(undisturbed), losses


def points(undisturbed: Sequence[float], others: Sequence[float]) -> float:
    """Return by how much the others are worse, in points, as the mean over seeds."""
    pairs = zip(undisturbed, others, strict=True)
    return 100 * statistics.mean(before - after for before, after in pairs)


def shown(partition: str, undisturbed: float, losses: Mapping[str, Mapping[str, float]]) -> Table:
    """Return a table of rule by attack."""
    table = Table(title=f"{partition}: points lost of {100 * undisturbed:.1f} %")
    for column in ("rule", "no attack", *ATTACKS):
        table.add_column(column, justify="left" if column == "rule" else "right")
    for rule, by_attack in losses.items():
        table.add_row(rule, *(f"{by_attack[each]:.1f}" for each in ("no attack", *ATTACKS)))
    return table


def main(
    rounds: Annotated[int, typer.Option(help="Rounds of each training.")] = 20,
    seeds: Annotated[int, typer.Option(help="Seeds, from 0.")] = 3,
) -> None:
    """Train under every rule and attack, print two tables, and write the results."""
    torch.set_num_threads(1)
    tables, rows = [], []
    for partition in ("iid", "dirichlet:0.5"):
        undisturbed, losses = measured(partition, range(seeds), rounds)
        tables.append(shown(partition, undisturbed, losses))
        for attack in ATTACKS:
            best = min(losses, key=lambda rule: losses[rule][attack])
            rows.append(
                Row(
                    f"{partition}, {attack}: {best}",
                    losses[best][attack],
                    "points lost",
                    floor=losses["mean"][attack],
                    limit="3 points",
                    details={rule: losses[rule][attack] for rule in losses},
                )
            )
    for table in tables:
        Console(width=140).print(table)
    report("bench-robust", rows, title="the best rule for each attack")


if __name__ == "__main__":
    typer.run(main)

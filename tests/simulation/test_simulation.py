"""Facts about whole simulations: equal to the plain loop, and to the real federation."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from torch.utils.data import TensorDataset

from fanfold.api.round_rules import rounds_of
from fanfold.coordinator.assembly import serve as serve_coordinator
from fanfold.coordinator.persistence.history import read_history
from fanfold.coordinator.settings import CoordinatorSettings
from fanfold.learning import Task, TaskError, TrainingPlan, named_tensors, seeded, training_seed
from fanfold.learning.digits import Digits
from fanfold.participant.assembly import serve as serve_participant
from fanfold.participant.settings import ParticipantSettings
from fanfold.participant.trainer import Trainer
from fanfold.schemas.tensor_codec import parameters_sha256
from fanfold.simulation.outcome import SimulationResult
from fanfold.simulation.participants import Participants, Share
from fanfold.simulation.settings import SimulationSettings
from fanfold.simulation.simulate import run
from fanfold.views.wall_clock import utc_now

TASK = f"{__name__}:Line"


class Line(Task):
    """Fits a line by whole-batch gradient steps: nothing random, so that threads may share it."""

    def network(self) -> nn.Module:
        line = nn.Linear(2, 1)
        nn.init.ones_(line.weight)
        nn.init.zeros_(line.bias)
        return line

    def train_data(self) -> TensorDataset:
        inputs = torch.arange(12.0).reshape(6, 2)[self.partition_index :: self.num_partitions]
        return TensorDataset(inputs, inputs.sum(1, keepdim=True) + self.partition_index)

    def validation_data(self) -> TensorDataset:
        return self.train_data()

    def loss(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return nn.functional.mse_loss(outputs, targets)

    def fit(self, network: nn.Module, data: Any, plan: TrainingPlan) -> list[dict[str, float]]:
        inputs, targets = data.tensors
        loss = self.loss(network(inputs), targets)
        loss.backward()
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.sub_(parameter.grad, alpha=plan.lr)
                parameter.grad = None
        return [{"loss": float(loss.detach())}]


def simulated(
    out: Path, *, modes: tuple[str, ...] = ("sync",), **options: Any
) -> list[SimulationResult]:
    texts: dict[str, Any] = {
        name: value if isinstance(value, tuple) else str(value) for name, value in options.items()
    }
    own = {name: texts.pop(name) for name in list(texts) if name in SimulationSettings.model_fields}
    settings = SimulationSettings.model_validate({"plot": False, "mode": modes, **own, "out": out})
    outcomes = run(
        settings,
        lambda mode: rounds_of(mode, settings, texts),
        say=lambda _event: None,
        on_ready=lambda _stop: None,
    )
    return list(outcomes.values())


def test_sync_with_equal_speeds_is_the_plain_loop_of_federated_averaging(tmp_path: Path) -> None:
    """Bit for bit: the same digest as a dozen lines that know nothing of Fanfold's services."""
    tasks = [Digits(partition_index=index, num_partitions=30) for index in range(3)]
    plan = TrainingPlan(epochs=1, batch_size=16, lr=0.05, momentum=0.9, threads=1)
    with seeded(0):
        network = tasks[0].network()
    parameters = {name: tensor.clone() for name, tensor in named_tensors(network).items()}
    for version in range(2):
        total = {name: tensor.double() * 0 for name, tensor in parameters.items()}
        examples = 0
        for index, task in enumerate(tasks):
            network.load_state_dict(parameters)
            data = task.train_data()
            with seeded(training_seed(0, version, f"participant-{index}"), threads=1):
                task.fit(network, data, plan)
            for name, after in named_tensors(network).items():
                total[name] += (after - parameters[name]).double() * len(data)
            examples += len(data)
        for name, before in parameters.items():
            parameters[name] = (before.double() + total[name] / examples).float()

    (outcome,) = simulated(
        tmp_path,
        task=f"{__name__}:ThreeOfThirty",
        participants=3,
        rounds=2,
        batch_size=16,
        speeds="constant",
    )

    assert outcome.parameters_sha256 == parameters_sha256(parameters)


class ThreeOfThirty(Digits):
    """Three participants with a thirtieth of the digits each, to be quick."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**(options | {"num_partitions": 30}))

    def test_data(self) -> None:
        return None


def test_a_simulated_federation_ends_like_a_real_one(
    broker_url: str, federation: str, tmp_path: Path
) -> None:
    """The same parameters to the bit, and histories with the same fields."""
    common: dict[str, Any] = {"federation": federation, "broker": (broker_url,), "device": "cpu"}
    rounds = {"task": TASK, "rounds": 4, "lr": 0.01, "server_optimizer": "sgd:lr=1,momentum=0.5"}
    real = tmp_path / "real"
    with ThreadPoolExecutor(max_workers=3) as threads:
        stops = []
        for index in range(2):
            settings = ParticipantSettings(
                **common,
                id=f"participant-{index}",
                task=TASK,
                partition_index=index,
                num_partitions=2,
            )
            stops.append(started(threads, serve_participant, settings)[1])
        coordinator, _ = started(
            threads,
            serve_coordinator,
            CoordinatorSettings(**common, **rounds, out=real, min_participants=2),
            wall_clock=utc_now,
        )
        outcome = coordinator.result(60)
        for stop in stops:
            stop("the test is over")

    (twin,) = simulated(tmp_path, participants=2, speeds="constant", **rounds)

    assert twin.parameters_sha256 == outcome.parameters_sha256
    assert twin.rounds == outcome.rounds == 4
    theirs = list(read_history(real / "history.jsonl"))
    ours = list(read_history(twin.history))
    assert [set(record) for record in ours] == [set(record) for record in theirs]
    assert [set(record["updates"][0]) for record in ours if record["event"] == "round"] == [
        set(record["updates"][0]) for record in theirs if record["event"] == "round"
    ]
    bytes_down = [record["bytes_down"] for record in ours if record["event"] == "round_closed"]
    assert bytes_down == [
        record["bytes_down"] for record in theirs if record["event"] == "round_closed"
    ]


def started(
    threads: ThreadPoolExecutor, serve: Callable[..., Any], settings: Any, **options: Any
) -> tuple["Future[Any]", Callable[[str], None]]:
    ready: Future[Callable[[str], None]] = Future()
    result = threads.submit(
        serve, settings, say=lambda _event: None, on_ready=ready.set_result, **options
    )
    return result, ready.result(30)


OPTIONS: dict[str, Any] = {
    "task": TASK,
    "participants": 3,
    "rounds": 9,
    "lr": 0.01,
    "speeds": "lognormal:1.0",
    "dropout": 0.2,
    "goal": 2,
}


def test_the_same_seed_gives_the_same_history_and_another_seed_another(tmp_path: Path) -> None:
    modes = ("sync", "buffered", "async", "exact")
    once = simulated(tmp_path / "once", modes=modes, **OPTIONS)
    again = simulated(tmp_path / "again", modes=modes, **OPTIONS)
    other = simulated(tmp_path / "other", modes=modes, **OPTIONS, seed=1)

    for first, second, third in zip(once, again, other, strict=True):
        assert first.history.read_bytes() == second.history.read_bytes()
        assert first.history.read_bytes() != third.history.read_bytes()


def test_with_several_modes_the_goal_is_that_of_the_buffered_one(tmp_path: Path) -> None:
    updates = {
        outcome.history.parent.name: {
            record["updates"]
            for record in read_history(outcome.history)
            if record["event"] == "round_closed"
        }
        for outcome in simulated(tmp_path, modes=("all",), **OPTIONS)
    }

    assert updates == {"sync": {3}, "buffered": {2}, "async": {1}, "exact": {1}}


def test_a_run_may_end_by_the_clock_instead_of_by_the_rounds(tmp_path: Path) -> None:
    """2 of 6 examples, 2 s for each, on equal machines: a round takes 4 s, 3 minutes have 45."""
    options = OPTIONS | {"speeds": "constant", "dropout": 0.0, "example_seconds": 2.0}
    del options["rounds"]
    (outcome,) = simulated(tmp_path, **options, simulated_hours=0.05)

    assert (outcome.rounds, outcome.seconds) == (45, 180.0)


class Wide(Line):
    """Large enough for a lossy encoding to be worth it."""

    def network(self) -> nn.Module:
        line = nn.Linear(64, 1, bias=False)
        nn.init.zeros_(line.weight)
        return line

    def train_data(self) -> TensorDataset:
        inputs = torch.eye(64)[self.partition_index :: self.num_partitions]
        return TensorDataset(inputs, inputs @ torch.arange(1.0, 65.0)[:, None])


def test_what_topk_leaves_out_of_one_update_goes_into_the_next(tmp_path: Path) -> None:
    """One participant, a quarter of 64 values a round: after four rounds all have moved."""
    options = {"task": f"{__name__}:Wide", "participants": 1, "speeds": "constant", "lr": 0.1}
    moved = []
    for rounds in (1, 4):
        (outcome,) = simulated(tmp_path, **options, rounds=rounds, encoding="topk:0.25")
        tensors = load_file(outcome.history.with_name("model.safetensors"))
        moved.append(int(tensors["weight"].count_nonzero()))

    assert moved[0] == 16
    assert moved[1] > 32


def test_private_tensors_begin_as_in_the_service() -> None:
    """As the run's seed and the participant's name decide."""
    name, seed = "participant-0", 5
    task = f"{__name__}:OwnHead"
    share = Share(task, (), "iid", 2, seed, "cpu")
    simulated_ones = Participants([name], share, lambda: False)._trainer(0).private_tensors
    real_ones = Trainer(OwnHead(num_partitions=2), name, seed=seed).private_tensors
    assert real_ones.keys() == simulated_ones.keys() != set()
    assert all(real_ones[key].equal(value) for key, value in simulated_ones.items())


def test_one_network_for_all_is_refused_where_something_is_private() -> None:
    """It would be everybody's."""
    share = Share(f"{__name__}:OneForAll", (), "iid", 2, 0, "cpu")
    participants = Participants(["ann", "bob"], share, lambda: False)
    participants.num_examples(0)
    with pytest.raises(TaskError, match="OneForAll gives all participants one and the same"):
        participants.num_examples(1)


class OneForAll(Line):
    """A network of the module, of which a part stays private."""

    shared = ("!bias",)
    one = nn.Linear(2, 1)

    def network(self) -> nn.Module:
        return self.one


class OwnHead(Digits):
    """Everybody keeps a last layer of its own."""

    shared = ("!linear.*",)


def test_what_participants_report_stands_in_where_there_is_no_held_out_data(tmp_path: Path) -> None:
    (outcome,) = simulated(tmp_path, **OPTIONS)
    losses = [
        record["loss"]
        for record in read_history(outcome.history)
        if record["event"] == "round_closed"
    ]

    assert all(isinstance(loss, float) for loss in losses)
    assert losses[-1] < losses[0]

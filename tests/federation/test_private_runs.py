"""Facts about private runs over the broker: what is received, what it costs, and what is kept."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import dp_accounting
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from fanfold.coordinator.aggregation.run_state import RunState
from fanfold.coordinator.persistence.history import read_history
from fanfold.learning import TrainingPlan, clip_factor, dp_sgd, joint_norm
from tests.federation.tiny_tasks import Tiny

CLIP = 0.01
"""Below the length of every update of these tasks."""
TINY = 1e-6
"""So little noise that the rest can be compared with a plain loop."""

Received = list[dict[str, Tensor]]


@pytest.fixture
def received(monkeypatch: pytest.MonkeyPatch) -> Received:
    """The tensors of every update that a coordinator of this test folds."""
    tensors: Received = []
    fold: Callable[..., Any] = RunState.fold

    def spy(run: RunState, update: Any, sent: Mapping[str, Tensor], digest: str) -> Any:
        assert (update.num_examples, update.metrics) == (1, {})
        tensors.append({name: tensor.clone() for name, tensor in sent.items()})
        return fold(run, update, sent, digest)

    monkeypatch.setattr(RunState, "fold", spy)
    return tensors


def private_run(live: Any, task: str = "Tiny", *, state: bool = True, **options: Any) -> Any:
    """Run two participants to the end; return the coordinator."""
    given = {"rounds": 1, "min_participants": 2, "dp_clip": CLIP, "dp_noise": 1.0, "dp_delta": 1e-6}
    coordinator = live.coordinator(task, **(given | options))
    for index in range(2):
        folder = live.out.parent / f"p{index}" if state else None
        live.participant(task, index, 2, state_dir=folder)
    coordinator.result.result(90)
    return coordinator


def records(live: Any, event: str) -> list[dict[str, Any]]:
    return [each for each in read_history(live.out / "history.jsonl") if each["event"] == event]


def trained(index: int) -> dict[str, Tensor]:
    """The delta of one participant's first training, as a plain loop makes it."""
    task = Tiny(partition_index=index, num_partitions=2)
    network = task.network()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    task.fit(network, task.train_data(), TrainingPlan(lr=0.1))
    return {name: tensor - before[name] for name, tensor in network.state_dict().items()}


def mean_of_clipped() -> dict[str, Tensor]:
    deltas = [trained(index) for index in range(2)]
    factors = [clip_factor(joint_norm(delta), CLIP) for delta in deltas]
    assert all(factor < 1 for factor in factors)
    return {
        name: sum((f * d[name] for f, d in zip(factors, deltas, strict=True)), torch.zeros(())) / 2
        for name in deltas[0]
    }


def test_an_update_leaves_its_participant_with_noise(live: Any, received: Received) -> None:
    """Noise of 100 times the clip on six values hides what the update was."""
    private_run(live, dp_at="participant", dp_noise=100.0)
    assert len(received) == 2
    for tensors in received:
        assert 10 * CLIP < joint_norm(tensors) < 100 * 100 * CLIP


def test_an_update_leaves_its_participant_clipped(live: Any, received: Received) -> None:
    """All of it that is no noise is as long as the clip allows."""
    private_run(live, dp_at="participant", dp_noise=TINY)
    assert [joint_norm(tensors) for tensors in received] == [pytest.approx(CLIP, rel=1e-4)] * 2


@pytest.mark.parametrize("place", ["participant", "coordinator"])
def test_a_round_with_hardly_any_noise_is_the_mean_of_the_clipped_updates(
    live: Any, received: Received, place: str
) -> None:
    """Whatever anybody's examples: five of one and three of the other."""
    coordinator = private_run(live, dp_at=place, dp_noise=TINY)
    model = load_file(coordinator.result.result().model)
    start = Tiny().network().state_dict()
    for name, step in mean_of_clipped().items():
        torch.testing.assert_close(model[name] - start[name], step, rtol=1e-3, atol=1e-6)


def test_the_coordinators_noise_is_on_the_sum(live: Any, received: Received) -> None:
    """Updates come as they were trained, longer than the clip; the version moves by noise."""
    coordinator = private_run(live, dp_at="coordinator", dp_noise=1e4)
    assert sorted(map(joint_norm, received)) == pytest.approx(
        sorted(joint_norm(trained(index)) for index in range(2)), rel=1e-5
    )
    model = load_file(coordinator.result.result().model)
    start = Tiny().network().state_dict()
    assert joint_norm({name: model[name] - start[name] for name in model}) > 10 * CLIP


@pytest.mark.parametrize("place", ["participant", "coordinator"])
def test_the_privacy_spent_is_told_each_round_as_dp_accounting_says(live: Any, place: str) -> None:
    """To people, and in the history for each participant."""
    coordinator = private_run(live, rounds=2, dp_at=place)
    for name, noise in (("epsilon_zero_out", 1.0), ("epsilon_replace_one", 0.5)):
        told = [(each[name], each["delta"]) for each in coordinator.all("round_closed")]
        expected = [dp_accounting.get_epsilon_gaussian(noise / math.sqrt(k), 1e-6) for k in (1, 2)]
        assert told == [(pytest.approx(value), 1e-6) for value in expected]
        for record, value in zip(records(live, "round"), expected, strict=True):
            assert record[name] == {"p0": pytest.approx(value), "p1": pytest.approx(value)}


def test_nothing_private_is_written_down(live: Any) -> None:
    """Participants measure on their own data, and it stays there."""
    coordinator = private_run(live, "Reporting", state=False)
    (record,) = records(live, "round")
    kept = [(each["num_examples"], each["weight"], each["metrics"]) for each in record["updates"]]
    assert kept == [(1, 1.0, {})] * 2
    (closed,) = coordinator.all("round_closed")
    assert (closed["loss"], closed["accuracy"], closed["examples"]) == (None, None, 2)


def test_a_counter_in_the_network_is_no_hindrance(live: Any, received: Received) -> None:
    """An integer buffer is sent by nobody and stays as it is."""
    coordinator = private_run(live, "Counting")
    assert [sorted(tensors) for tensors in received] == [["0.bias", "0.weight"]] * 2
    model = load_file(coordinator.result.result().model)
    assert model["1.seen"].item() == 7


@pytest.mark.slow
def test_a_kept_noisy_update_is_sent_again_and_never_drawn_again(live: Any) -> None:
    """Everybody is started anew while the round is open: the same bits, and one release."""
    state = live.out.parent / "p0"
    private = {"dp_clip": CLIP, "dp_noise": 1.0, "dp_at": "participant"}
    coordinator = live.coordinator("Tiny", rounds=1, min_participants=2, **private)
    absent = live.process("participant", "Slow", *slow_flags(live), SLOW_SECONDS="60")
    first = live.participant("Tiny", state_dir=state)
    first.wait_for("update_sent")
    kept = {path.name: path.read_bytes() for path in state.iterdir()}
    for service in (coordinator, first):
        service.stop("to be started again")
        service.result.result(60)

    coordinator = live.coordinator("Tiny", rounds=1, min_participants=2, **private)
    second = live.participant("Tiny", state_dir=state)
    (sent,) = second.wait_for("update_sent")
    assert "seconds" not in sent  # it was not trained
    assert {path.name: path.read_bytes() for path in state.iterdir()} == kept
    absent.terminate()
    coordinator.wait_for("round_closed")
    (record,) = records(live, "round")
    spent = record["epsilon_zero_out"]["p0"]
    assert spent == pytest.approx(dp_accounting.get_epsilon_gaussian(1.0, 1e-5))
    assert coordinator.all("update_refused") == []


@pytest.mark.slow
def test_a_noisy_update_that_is_refused_is_paid_for(live: Any) -> None:
    """It was known to the broker and to us: what is stale tells as much as what is counted."""
    coordinator = live.coordinator(
        "Reporting",
        rounds=10_000,
        min_participants=2,
        deadline_seconds=0.5,
        dp_clip=CLIP,
        dp_noise=1.0,
        dp_at="participant",
    )
    live.process("participant", "Slow", *slow_flags(live), SLOW_SECONDS="2")
    live.participant("Reporting", state_dir=live.out.parent / "p0")
    coordinator.wait_for("update_refused")
    rounds = len(coordinator.all("round_closed"))
    coordinator.wait_for("round_closed", times=rounds + 1)
    coordinator.stop("seen enough")
    coordinator.result.result(60)
    came = 0
    for record in read_history(live.out / "history.jsonl"):
        if record["event"] == "refused":
            assert record["participant"] == "p1"
            came += 1
        elif record["event"] == "round":
            came += [each["participant"] for each in record["updates"]].count("p1")
            expected = dp_accounting.get_epsilon_gaussian(1 / math.sqrt(came), 1e-5) if came else 0
            assert record["epsilon_zero_out"].get("p1", 0) == pytest.approx(expected)
    assert came > 0


def slow_flags(live: Any) -> list[str]:
    """A second participant that takes its time, and leaves at once when it is told to."""
    return ["--id=p1", f"--state-dir={live.out.parent / 'p1'}", "--grace-seconds=0"]


def test_a_participant_may_train_so_that_no_example_can_be_told(live: Any) -> None:
    """Its own choice: what it spends grows from round to round, and metrics stay with it."""
    coordinator = live.coordinator("ByLibrary", rounds=2, batch_size=4)
    participant = live.participant(
        "ByLibrary", dp_sgd_clip=1.0, dp_sgd_noise=1.0, state_dir=live.out.parent / "p0"
    )
    coordinator.result.result(90)
    spent = [each["epsilon"] for each in participant.wait_for("update_sent", times=2)]
    steps = [(1.0, 0.5, 2), (1.0, 0.5, 4)]
    assert spent == [pytest.approx(dp_sgd.epsilon([each], 1e-5)) for each in steps]
    assert [u["metrics"] for each in records(live, "round") for u in each["updates"]] == [{}, {}]

"""Facts about whole runs over the broker: what comes out is what a plain loop computes."""

import json
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from fanfold.coordinator.persistence.history import read_history
from fanfold.learning import TrainingPlan
from fanfold.schemas.tensor_codec import parameters_sha256
from tests.federation.tiny_tasks import INPUTS, TARGETS, Gated, Normalised, Tiny, accuracy_of

ROUND_FIELDS = {
    "round",
    "version",
    "updates",
    "examples",
    "loss",
    "accuracy",
    "seconds",
    "bytes_down",
    "bytes_up",
}


def in_memory(rounds: int, order: list[list[str]]) -> dict[str, torch.Tensor]:
    """The same rounds as a loop: FedAvg of two participants, folded in the order of arrival."""
    model = {name: tensor.clone() for name, tensor in Tiny().network().state_dict().items()}
    tasks = {f"p{index}": Tiny(partition_index=index, num_partitions=2) for index in range(2)}
    for number in range(rounds):
        total = {name: torch.zeros_like(tensor).double() for name, tensor in model.items()}
        num_examples = 0
        for participant in order[number]:
            task = tasks[participant]
            network, data = task.network(), task.train_data()
            network.load_state_dict(model)
            task.fit(network, data, TrainingPlan(lr=0.1))
            num_examples += len(data)
            for name, tensor in network.state_dict().items():
                total[name] += (tensor - model[name]).double() * len(data)
        for name, tensor in model.items():
            model[name] = (tensor.double() + total[name] / num_examples).float()
    return model


def rounds_of(live: Any) -> list[dict[str, Any]]:
    records = read_history(live.out / "history.jsonl")
    return [record for record in records if record["event"] == "round"]


def order_of(live: Any) -> list[list[str]]:
    return [[update["participant"] for update in each["updates"]] for each in rounds_of(live)]


def test_a_federation_is_the_plain_loop(live: Any) -> None:
    """The same parameters to the bit; and the folder holds what was promised."""
    coordinator = live.coordinator("Tiny", rounds=4, min_participants=2)
    for index in range(2):
        live.participant("Tiny", index, 2)
    outcome = coordinator.result.result(90)
    expected = in_memory(4, order_of(live))

    assert outcome.is_finished
    assert outcome.parameters_sha256 == parameters_sha256(expected)
    assert outcome.parameters_sha256 == parameters_sha256(load_file(outcome.model))
    assert outcome.accuracy == pytest.approx(accuracy_of(expected))
    closed = coordinator.all("round_closed")
    assert [each["round"] for each in closed] == [1, 2, 3, 4]
    assert all(each.keys() - {"metrics", "not_finite"} == ROUND_FIELDS for each in closed)
    assert {(each["updates"], each["examples"]) for each in closed} == {(2, 8)}
    assert {"model.safetensors", "best.safetensors", "history.jsonl"} <= {
        path.name for path in live.out.iterdir()
    }
    best = max(each["accuracy"] for each in closed)
    assert accuracy_of(load_file(live.out / "best.safetensors")) == pytest.approx(best)


def test_one_participant_with_all_data_is_plain_sgd(live: Any) -> None:
    """Without momentum, to 1e-6 relative: rounds are nothing but pauses."""
    plan = {"rounds": 3, "epochs": 2, "batch_size": 8, "momentum": 0.0, "lr": 0.2}
    coordinator = live.coordinator("Sampled", **plan)
    live.participant("Sampled")
    outcome = coordinator.result.result(90)

    network = Tiny().network().double()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.2)
    for _ in range(3 * 2):
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(INPUTS.double()), TARGETS).backward()
        optimizer.step()
    for name, tensor in load_file(outcome.model).items():
        torch.testing.assert_close(tensor, network.state_dict()[name], rtol=1e-6, atol=0.0)


def test_they_may_come_in_any_order(live: Any) -> None:
    """Before the coordinator, and in the middle of a run; everybody gets the current version."""
    early = live.participant("Tiny", 0, 2)
    early.wait_for("waiting_for_coordinator")
    coordinator = live.coordinator("Tiny", rounds=100_000, min_participants=1)
    coordinator.wait_for("round_closed", times=2)
    late = live.participant("Tiny", 1, 2)
    late.wait_for("update_sent", times=2)
    # Its first answer may come too late, and its second into a round that is still open.
    coordinator.wait_until(
        lambda: any(each["updates"] == 2 for each in coordinator.all("round_closed"))
    )
    coordinator.stop("enough")
    assert not coordinator.result.result(90).is_finished
    both = [each for each in order_of(live) if len(each) == 2]
    assert both


def test_a_stopped_run_goes_on_to_the_same_hash(live: Any) -> None:
    """With the server's momentum, as if nothing had happened; the history has every round once."""
    options = {"rounds": 6, "min_participants": 2, "server_optimizer": "sgd:lr=1,momentum=0.5"}
    for index in range(2):
        live.participant("Tiny", index, 2)
    undisturbed = live.coordinator("Tiny", **options, out=live.out / "one").result.result(90)

    first = live.coordinator("Tiny", **options)
    first.wait_for("round_closed", times=2)
    first.stop("in the middle")
    assert not first.result.result(90).is_finished
    second = live.coordinator("Tiny", **options)
    outcome = second.result.result(90)
    assert second.all("run_resumed")[0]["version"] >= 2
    assert outcome.is_finished
    assert [record["round"] for record in rounds_of(live)] == [1, 2, 3, 4, 5, 6]
    assert sorted(order_of(live)[0]) == ["p0", "p1"]
    model, reference = load_file(outcome.model), load_file(undisturbed.model)
    for name, tensor in reference.items():  # the order of arrival may differ: one float32 ulp
        torch.testing.assert_close(model[name], tensor, rtol=1e-6, atol=1e-7)
    again = live.coordinator("Tiny", **options).result.result(90)
    assert again.parameters_sha256 == outcome.parameters_sha256
    assert again.accuracy == outcome.accuracy


def test_one_participant_resumes_to_the_same_bits(live: Any) -> None:
    """With one participant there is only one order."""
    options = {"rounds": 6, "server_optimizer": "adam:lr=0.1"}
    live.participant("Tiny")
    undisturbed = live.coordinator("Tiny", **options, out=live.out / "one").result.result(90)
    first = live.coordinator("Tiny", **options)
    first.wait_for("round_closed", times=2)
    first.stop("in the middle")
    first.result.result(90)
    outcome = live.coordinator("Tiny", **options).result.result(90)
    assert outcome.parameters_sha256 == undisturbed.parameters_sha256


def test_a_run_begins_from_a_file_and_ends_when_it_is_good_enough(live: Any) -> None:
    """`--initial` and `--until-accuracy`."""
    live.out.mkdir()
    start = {"weight": torch.tensor([[-9.0, 9.0], [9.0, -9.0]]), "bias": torch.zeros(2)}
    assert accuracy_of(start) == 1.0
    save_file(start, live.out / "start.safetensors")
    live.participant("Tiny")
    coordinator = live.coordinator(
        "Tiny", rounds=500, until_accuracy=1.0, initial=live.out / "start.safetensors", lr=0.0
    )
    outcome = coordinator.result.result(90)
    assert outcome.is_finished
    assert outcome.rounds < 500
    assert outcome.accuracy == 1.0
    assert outcome.parameters_sha256 == parameters_sha256(start)


def test_evaluation_every_few_rounds_and_at_the_end(live: Any) -> None:
    """The rounds between have no accuracy, and are told in their order."""
    live.participant("Tiny")
    coordinator = live.coordinator("Tiny", rounds=5, evaluate_every=3)
    outcome = coordinator.result.result(90)
    accuracies = [each["accuracy"] for each in coordinator.all("round_closed")]
    assert [accuracy is None for accuracy in accuracies] == [True, True, False, True, False]
    assert outcome.accuracy == accuracies[-1]


def test_without_held_out_data_participants_say_what_a_version_is_worth(live: Any) -> None:
    """Means weighted by examples, of the version that was trained on; the last is the best."""
    for index in range(2):
        live.participant("Reporting", index, 2)
    coordinator = live.coordinator("Reporting", rounds=3, min_participants=2)
    outcome = coordinator.result.result(90)
    expected = in_memory(2, order_of(live))
    (_, _, last) = coordinator.all("round_closed")
    assert last["accuracy"] == pytest.approx(accuracy_of(expected))
    assert outcome.accuracy == last["accuracy"]
    first, best = (load_file(live.out / f"{name}.safetensors") for name in ("model", "best"))
    assert parameters_sha256(first) == parameters_sha256(best)


def test_private_tensors_stay_where_they_are(live: Any) -> None:
    """Neither published nor sent; without them nothing can be evaluated at the centre."""
    participant = live.participant("OwnBias")
    coordinator = live.coordinator("OwnBias", rounds=2)
    outcome = coordinator.result.result(90)
    assert load_file(outcome.model).keys() == {"weight"}
    assert [each["accuracy"] for each in coordinator.all("round_closed")] == [None, None]
    assert participant.wait_for("update_sent", times=2)


def test_batch_normalisation_counts_in_integers(live: Any) -> None:
    """`num_batches_tracked` stays int64 and takes the largest; statistics are averaged."""
    for index in range(2):
        live.participant("Normalised", index, 2)
    outcome = live.coordinator("Normalised", rounds=3, epochs=2, min_participants=2).result.result(
        90
    )
    model = load_file(outcome.model)
    assert model["1.num_batches_tracked"].dtype == torch.int64
    assert model["1.num_batches_tracked"].item() == 3 * 2
    Normalised().network().load_state_dict(model)
    assert bool((model["1.running_var"] > 0).all())


@pytest.mark.parametrize("encoding", ["float32", "float16", "int8"])
def test_buffers_that_are_not_finite_stay_or_begin_with_what_was_seen(
    live: Any, encoding: str
) -> None:
    """Nobody is refused for them, and neither model holds a NaN that the network does not."""
    coordinator = live.coordinator("Limited", rounds=1, min_participants=2, encoding=encoding)
    for index in range(2):
        live.participant("Limited", index, 2)
    coordinator.result.result(90)
    assert coordinator.all("update_refused") == []
    for name in ("model", "best"):
        model = load_file(live.out / f"{name}.safetensors")
        assert str(model["0.mask"].tolist()) == "[0.0, -inf, nan]"
        assert model["0.least"].tolist() == [-1.0, (5 * 0.0 + 3 * -2.0) / 8]
        assert bool(model["1.weight"].isfinite().all())


def test_buffered_and_asynchronous_rounds_close_without_waiting_for_all(live: Any) -> None:
    """One update closes a round; what comes late is folded with less weight."""
    for index in range(2):
        live.participant("Tiny", index, 2)
    coordinator = live.coordinator("Tiny", rounds=6, mode="async", min_participants=2)
    assert coordinator.result.result(90).rounds == 6
    weights = {
        update["staleness"]: update["weight"]
        for record in rounds_of(live)
        for update in record["updates"]
    }
    assert weights[0] == 1.0
    assert all(weight == (1 + tau) ** -0.5 for tau, weight in weights.items())


@pytest.mark.parametrize("task", ["Gated", "GatedTiny"])
def test_who_was_busy_goes_on_with_the_newest_version(live: Any, task: str) -> None:
    """Not with those in between: its queue holds one, however small versions are on the wire."""
    Gated.gate.clear()
    plan = {"mode": "async", "rounds": 100_000, "min_participants": 2, "encoding_down": "int8"}
    coordinator = live.coordinator(task, **plan)
    busy = live.participant(task, 1, 2)
    live.participant(task, 0, 2)
    busy.wait_for("version_received")
    coordinator.wait_for("round_closed", times=12)
    newest = len(coordinator.all("round_closed"))
    Gated.gate.set()
    (_, second, *_) = busy.wait_for("version_received", times=2)
    assert second["version"] >= newest - 1  # the newest one may be on its way
    coordinator.stop("seen enough")
    coordinator.result.result(90)


def test_a_participant_may_leave_when_the_run_is_over(live: Any) -> None:
    """`--once`; the others stay and take part in the next run."""
    staying, leaving = live.participant("Tiny", 0, 2), live.participant("Tiny", 1, 2, once=True)
    live.coordinator("Tiny", rounds=2, min_participants=2).result.result(90)
    leaving.result.result(90)
    staying.wait_for("run_over")
    live.coordinator("Tiny", rounds=2, resume=False).result.result(90)
    assert len(staying.wait_for("run_over", times=2)) == 2


def test_every_line_of_the_history_is_json_that_any_program_reads(live: Any) -> None:
    """No NaN, even where a training went astray."""
    live.participant("Tiny")
    live.coordinator("Tiny", rounds=2).result.result(90)

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    for line in (live.out / "history.jsonl").read_text().splitlines():
        json.loads(line, parse_constant=refuse)


def test_a_bound_on_bytes_per_second_changes_nothing_but_the_time(live: Any) -> None:
    hashes = set()
    for bound in (None, 10_000):
        out = live.out / str(bound)
        coordinator = live.coordinator("Tiny", out=out, rounds=3)
        participant = live.participant("Tiny", once=True, max_bytes_per_second=bound)
        hashes.add(coordinator.result.result(90).parameters_sha256)
        participant.result.result(90)
    assert len(hashes) == 1

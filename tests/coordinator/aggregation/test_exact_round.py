"""Facts about the mean of everybody's latest local model, as a run keeps it."""

import random
from pathlib import Path

import pytest
import torch
from torch import Tensor

from fanfold.coordinator.aggregation.aggregation_settings import AggregationSettings
from fanfold.coordinator.aggregation.exact_round import ExactRound, LostModelError
from fanfold.coordinator.aggregation.latest_models import LatestModels
from fanfold.coordinator.aggregation.refusals import Reason, UpdateLimits
from fanfold.coordinator.aggregation.run_state import RunState
from fanfold.coordinator.aggregation.tensor_store import TensorStore
from fanfold.coordinator.persistence.kept_tensors import KeptTensors
from fanfold.schemas.errors import InvalidInputError
from tests.coordinator.aggregation.small_runs import new_run, play, publish, send, some


def mean_of_table(run: RunState, store: TensorStore, *, seed: int) -> Tensor:
    """Add up the models on the disk anew, in an order that nobody used before."""
    assert isinstance(run.aggregation, ExactRound)
    entries = list(run.aggregation.table.values())
    random.Random(seed).shuffle(entries)
    latest = LatestModels()
    for entry in entries:
        kept = store.get(entry.key)
        latest.add({name: kept.load(name) for name in kept.names}, entry.num_examples)
    return latest.mean("w")


def test_the_exact_model_is_the_mean_of_the_table(tmp_path: Path) -> None:
    """To the last bit, after every round, with participants of all ages."""
    kept = KeptTensors(tmp_path / "kept")
    run = new_run(AggregationSettings(is_exact=True, max_staleness=3), store=kept)

    def check(run: RunState) -> RunState:
        if not run.contributions and run.version:
            assert torch.equal(run.tensors["w"], mean_of_table(run, kept, seed=run.version).float())
        return run

    play(run, 12, check)
    assert run.tensors["n"].item() == 1104


def test_a_fast_participant_counts_no_more_than_a_slow_one() -> None:
    """Losses (w-1)^2/2 and (w+1)^2/2, step 0.1, one ten times faster: exact ends at 0."""
    ends = {}
    for is_exact in (True, False):
        run = new_run(AggregationSettings(is_exact=is_exact, max_staleness=50))
        run.limits = UpdateLimits(max_staleness=50)
        slow_base, slow_model = 0, 0.0
        publish(run)
        for round_number in range(1, 1500):
            here = float(run.tensors["w"][0])
            if round_number % 11:
                send(run, "fast", {"w": torch.full((7,), -0.1 * (here - 1))})
            else:
                step = torch.full((7,), -0.1 * (slow_model + 1))
                send(run, "slow", {"w": step}, base=slow_base)
            run.close_round()
            publish(run)
            if not round_number % 11:
                slow_base, slow_model = run.version, float(run.tensors["w"][0])
        ends[is_exact] = float(run.tensors["w"][0])
    assert abs(ends[True]) < 0.02
    assert ends[False] > 0.7


def test_who_is_silent_for_too_long_drops_out_and_comes_back() -> None:
    """With its next update; how long is the largest staleness."""
    run = new_run(AggregationSettings(is_exact=True, max_staleness=3))
    publish(run)
    send(run, "slow", {"w": torch.full((7,), 8.0)})
    run.close_round()
    seen = []
    for _ in range(5):
        publish(run)
        send(run, "fast", {"w": -run.tensors["w"].clone()})
        run.close_round()
        seen.append(float(run.tensors["w"][0]))
    assert seen == [4.0, 4.0, 4.0, 0.0, 0.0]
    publish(run)
    send(run, "slow", {"w": torch.full((7,), 2.0)})
    run.close_round()
    assert float(run.tensors["w"][0]) == 1.0


def test_a_damaged_model_drops_out_and_is_told(tmp_path: Path) -> None:
    """The mean goes on with the others, as if it had never been there."""
    kept = KeptTensors(tmp_path / "kept")
    settings = AggregationSettings(is_exact=True, max_staleness=3)
    run = new_run(settings, store=kept)
    publish(run)
    for who, value in (("ann", 1.0), ("bob", 3.0), ("cid", 8.0)):
        send(run, who, {"w": torch.full((7,), value)})
    run.close_round()
    assert float(run.tensors["w"][0]) == 4.0
    document, tensors = run.state()
    path = next((tmp_path / "kept").glob("model.cid.*"))
    damaged = bytearray(path.read_bytes())
    damaged[-1] ^= 1
    path.write_bytes(damaged)
    back = new_run(settings, store=kept)
    back.restore(document, tensors)
    assert back.lost_models == ["cid"]
    publish(back)
    send(back, "ann", {"w": torch.full((7,), 1.0)})
    back.close_round()
    assert float(back.tensors["w"][0]) == 4.0  # of 5 and 3


def test_a_version_that_is_lost_is_nobodys_base(tmp_path: Path) -> None:
    """An update on it is refused in words: it cannot become a local model."""
    kept = KeptTensors(tmp_path / "kept")
    settings = AggregationSettings(is_exact=True, max_staleness=3)
    run = play(new_run(settings, store=kept), 2, lambda run: run)
    document, tensors = run.state()
    next((tmp_path / "kept").glob("version.1.*")).unlink()
    back = new_run(settings, store=kept)
    back.restore(document, tensors)
    publish(back)
    refusal = send(back, "new", some(1), base=1)
    assert refusal.reason is Reason.UNKNOWN_BASE
    assert "version 1 is not kept any more" in refusal.detail
    assert send(back, "newer", some(2), base=0).share == 1.0


def test_a_kept_update_that_is_damaged_is_told(tmp_path: Path) -> None:
    """A start over it is refused, with what to do."""
    kept = KeptTensors(tmp_path / "kept")
    run = new_run(AggregationSettings("median"), store=kept)
    publish(run)
    send(run, "ann", some(1))
    document, tensors = run.state()
    next((tmp_path / "kept").iterdir()).unlink()
    with pytest.raises(InvalidInputError, match=r"cannot be read: .*; restore the folder"):
        new_run(AggregationSettings("median"), store=kept).restore(document, tensors)


def test_a_model_that_is_damaged_while_the_run_goes_on_ends_it_in_words(tmp_path: Path) -> None:
    """What it added cannot be taken away; a start goes on without it."""
    kept = KeptTensors(tmp_path / "kept")
    settings = AggregationSettings(is_exact=True, max_staleness=3)
    run = new_run(settings, store=kept)
    publish(run)
    send(run, "ann", {"w": torch.full((7,), 1.0)})
    send(run, "bob", {"w": torch.full((7,), 3.0)})
    run.close_round()
    document, tensors = run.state()
    next((tmp_path / "kept").glob("model.ann.*")).write_bytes(b"nothing")
    publish(run)
    with pytest.raises(LostModelError, match=r"the latest model of ann was damaged \(.*start the"):
        send(run, "ann", {"w": torch.full((7,), 1.0)})
    back = new_run(settings, store=kept)
    back.restore(document, tensors)
    assert back.lost_models == ["ann"]

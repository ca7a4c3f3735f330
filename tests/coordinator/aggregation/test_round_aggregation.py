"""Facts about runs that aggregate otherwise than by the mean, as plain state."""

from pathlib import Path

import pytest
import torch

from fanfold.coordinator.aggregation.aggregation_settings import AggregationSettings
from fanfold.coordinator.aggregation.contribution import shares_of
from fanfold.coordinator.aggregation.refusals import Reason
from fanfold.coordinator.aggregation.run_state import RunState
from fanfold.coordinator.persistence.kept_tensors import KeptTensors
from fanfold.schemas.errors import InvalidInputError
from tests.coordinator.aggregation.small_runs import new_run, play, publish, send, some, stored

RULES = [
    AggregationSettings("clip:0.5"),
    AggregationSettings("clip"),
    AggregationSettings("median", buckets=2, seed=3),
    AggregationSettings("centered-clipping"),
    AggregationSettings("multi-krum:1:2"),
    AggregationSettings("geometric-median", mixing="nnm:1"),
    AggregationSettings(normalize_steps=True, momentum=0.9),
    AggregationSettings(is_exact=True, max_staleness=3),
]


@pytest.mark.parametrize("settings", RULES, ids=lambda settings: settings.spec)
def test_a_run_that_comes_back_from_its_checkpoint_makes_the_same_bits(
    settings: AggregationSettings, tmp_path: Path
) -> None:
    """After every update, from files; without a stop and in memory it is the same run."""
    folders = iter(range(1000))
    kept = KeptTensors(tmp_path / "kept")

    def again(run: RunState) -> RunState:
        document, tensors = run.state()
        kept.sync()
        kept.committed(run.version)
        copies = {name: tensor.clone() for name, tensor in tensors.items()}
        back = new_run(settings, store=kept)
        back.restore(document, copies)
        next(folders)
        return back

    lags = not settings.aggregator.startswith("multi-krum")  # it needs all five
    whole = play(new_run(settings), 6, lambda run: run, lags=lags)
    parts = play(new_run(settings, store=kept), 6, again, lags=lags)
    assert next(folders) > 30
    assert whole.version == parts.version == 6
    for name, tensor in stored(whole).items():
        assert torch.equal(tensor, parts.tensors[name])


@pytest.mark.parametrize("settings", RULES, ids=lambda settings: settings.spec)
def test_no_rule_can_go_on_with_the_state_of_another(settings: AggregationSettings) -> None:
    """Which is said, with what to do."""
    run = play(new_run(AggregationSettings()), 1, lambda run: run)
    document, tensors = run.state()
    with pytest.raises(InvalidInputError, match="was begun with the aggregation 'mean'"):
        new_run(settings).restore(document, tensors)


def test_an_update_that_is_left_out_is_told(tmp_path: Path) -> None:
    """With how much of each counts, in contributions and in the round's event."""
    run = new_run(AggregationSettings("median"), store=KeptTensors(tmp_path / "kept"))
    publish(run)
    for who, value in (("ann", 1.0), ("bob", 2.0), ("eve", 1e6)):
        send(run, who, {"w": torch.full((7,), value)})
    contributions = run.close_round()
    assert run.tensors["w"].tolist() == [2.0] * 7
    assert [each.share for each in contributions] == [0, 1, 0]
    assert shares_of(contributions) == {"ann": 0.0, "bob": 1.0, "eve": 0.0}


def test_a_clipped_update_is_told() -> None:
    """By how much; a round in which all count as they are says nothing."""
    run = new_run(AggregationSettings("clip:2"))
    publish(run)
    short, long = torch.zeros(7), torch.zeros(7)
    short[0], long[1] = 1.0, 8.0
    assert send(run, "ann", {"w": short}).share == 1.0
    assert send(run, "bob", {"w": long}, num_examples=1000).share == 0.25
    contributions = run.close_round()
    assert run.tensors["w"].tolist() == [0.5, 1.0, 0, 0, 0, 0, 0]
    assert shares_of(contributions) == {"ann": 1.0, "bob": 0.25}
    assert shares_of(contributions[:1]) is None


def test_unequal_steps_are_normalised() -> None:
    """FedNova, weights 1:3, 2 and 5 steps, from 1 to .6 and -1.0; with momentum .9 too."""
    for momentum, expected in ((0.0, -0.4875), (0.9, -0.572670362)):
        run = new_run(AggregationSettings(normalize_steps=True, momentum=momentum))
        run.tensors["w"].fill_(1.0)
        publish(run)
        send(run, "ann", {"w": torch.full((7,), -0.4)}, num_examples=1, steps=2)
        send(run, "bob", {"w": torch.full((7,), -2.0)}, num_examples=3, steps=5)
        run.close_round()
        assert run.tensors["w"].tolist() == pytest.approx([expected] * 7, abs=1e-6)


def test_equal_steps_need_no_normalisation() -> None:
    """It is the mean then, whatever the momentum."""
    plain = play(new_run(AggregationSettings()), 0, lambda run: run)
    nova = new_run(AggregationSettings(normalize_steps=True, momentum=0.5))
    for run in (plain, nova):
        publish(run)
        for who in range(3):
            send(run, f"p{who}", some(who), num_examples=who + 1, steps=7)
        run.close_round()
    for name, tensor in plain.tensors.items():
        torch.testing.assert_close(nova.tensors[name], tensor, rtol=1e-6, atol=1e-7)


def test_an_update_without_its_steps_cannot_be_normalised() -> None:
    """It is refused in words."""
    run = new_run(AggregationSettings(normalize_steps=True))
    publish(run)
    refusal = send(run, "ann", some(1), steps=None)
    assert refusal.reason is Reason.INCOMPATIBLE
    assert "say how many local steps made them" in refusal.detail


def test_fadas_hears_of_the_largest_staleness_of_a_round() -> None:
    """Its steps are smaller than without."""
    ends = []
    for base in (0, 3):
        run = new_run(AggregationSettings(), optimizer="fadas:lr=1,tau_c=1")
        for _ in range(3):
            publish(run)
            send(run, f"p{run.version}", {"w": torch.ones(7)})
            run.close_round()
        publish(run)
        before = float(run.tensors["w"][0])
        send(run, "ann", {"w": torch.ones(7)}, base=base)
        run.close_round()
        ends.append(float(run.tensors["w"][0]) - before)
    assert ends[0] == pytest.approx(ends[1] / 3)

"""Client-level differential privacy: the formulas, what they are spent on, and what is refused."""

import math
from collections.abc import Mapping

import dp_accounting
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from fanfold.coordinator.aggregation.differential_privacy import DifferentialPrivacy
from fanfold.coordinator.aggregation.optimizer_spec import parse_optimizer
from fanfold.coordinator.aggregation.privacy_settings import epsilon, privacy_settings
from fanfold.coordinator.aggregation.refusals import Reason, UpdateLimits
from fanfold.coordinator.aggregation.run_state import RunState
from fanfold.coordinator.aggregation.staleness import parse_staleness
from fanfold.coordinator.settings import CoordinatorSettings
from fanfold.learning import joint_norm, secure_normal
from fanfold.participant.trainer import TrainedUpdate
from fanfold.participant.update_privacy import private_update
from fanfold.schemas.errors import InvalidInputError
from fanfold.schemas.messages import PrivacyPlan, Update

VALUES = 100_000
TINY = 1e-12
"""So little noise that the rest can be measured."""
KINDS = {"weight": "delta", "bias": "delta"}


def run_of(privacy: DifferentialPrivacy) -> RunState:
    run = RunState(
        run_id="r",
        tensors={"weight": torch.zeros(VALUES), "bias": torch.zeros(10)},
        kinds=KINDS,
        staleness=parse_staleness("polynomial:0.5"),
        optimizer=parse_optimizer("sgd:lr=1"),
        limits=UpdateLimits(),
        privacy=privacy,
    )
    run.announced("0" * 64)
    return run


def update(participant: str, num_examples: int = 1) -> Update:
    return Update(
        run="r",
        participant=participant,
        base_version=0,
        base_digest="0" * 64,
        num_examples=num_examples,
    )


def delta(length: float) -> dict[str, Tensor]:
    """Two tensors whose joint norm is `length`."""
    one = {"weight": torch.ones(VALUES), "bias": torch.ones(10)}
    return {name: tensor * (length / joint_norm(one)) for name, tensor in one.items()}


def trained(tensors: Mapping[str, Tensor], kind: str = "delta") -> TrainedUpdate:
    kinds = dict.fromkeys(tensors, kind)
    return TrainedUpdate(tensors, kinds, 77, {"loss": 1.0}, [], 3.0)


def test_the_coordinators_noise_on_the_mean_has_the_stated_deviation() -> None:
    """With z = 1, C = 0.5 and n = 10 it is z C / n = 0.05."""
    run = run_of(DifferentialPrivacy(clip=0.5, noise=1.0, at="coordinator", divisor=10))
    for number in range(10):
        run.fold(update(f"p{number}"), {name: t * 0 for name, t in delta(1).items()}, str(number))
    run.close_round()
    measured = float(run.tensors["weight"].double().std())
    assert measured == pytest.approx(0.05, rel=5 / math.sqrt(2 * VALUES))  # five standard errors
    assert abs(float(run.tensors["weight"].double().mean())) < 5 * 0.05 / math.sqrt(VALUES)


def test_the_participants_noise_on_the_mean_has_the_stated_deviation() -> None:
    """Each adds N(0, (z C)^2), so that the mean of n has z C / sqrt(n)."""
    plan = PrivacyPlan(clip=0.5, noise=1.0, at="participant")
    run = run_of(DifferentialPrivacy(clip=0.5, noise=1.0, at="participant", divisor=10))
    for number in range(10):
        made = private_update(
            trained({name: t * 0 for name, t in delta(1).items()}),
            plan,
            base=run.tensors,
            encoding="float32",
            is_kept=True,
        )
        run.fold(update(f"p{number}"), made.tensors, str(number))
    run.close_round()
    measured = float(run.tensors["weight"].double().std())
    assert measured == pytest.approx(0.5 / math.sqrt(10), rel=5 / math.sqrt(2 * VALUES))


@pytest.mark.parametrize(("length", "left"), [(0.1, 0.1), (0.5, 0.5), (80.0, 0.5)])
def test_an_update_is_clipped_over_all_its_tensors_together(length: float, left: float) -> None:
    """Its examples do not matter, and the divisor is fixed, however many updates came."""
    run = run_of(DifferentialPrivacy(clip=0.5, noise=TINY, at="coordinator", divisor=4))
    run.fold(update("a", num_examples=10_000), delta(length), "d")
    run.close_round()
    assert joint_norm(run.tensors) == pytest.approx(left / 4, rel=1e-6)


def test_the_noise_is_normal_and_never_the_same_twice() -> None:
    noise = secure_normal(torch.Size([VALUES]), 2.0)
    assert float(noise.std()) == pytest.approx(2.0, rel=0.02)
    for sigmas, share in ((1, 0.6827), (2, 0.9545), (3, 0.9973)):
        assert float((noise.abs() < 2.0 * sigmas).double().mean()) == pytest.approx(share, abs=0.01)
    torch.manual_seed(0)
    first = secure_normal(torch.Size([8]), 1.0)
    torch.manual_seed(0)
    assert not torch.equal(first, secure_normal(torch.Size([8]), 1.0))


@pytest.mark.parametrize("privacy_ledger", [1, 20])
def test_epsilon_is_what_dp_accounting_says(privacy_ledger: int) -> None:
    """Its numerical accountant composes the same releases one by one."""
    event = dp_accounting.SelfComposedDpEvent(dp_accounting.GaussianDpEvent(1.0), privacy_ledger)
    accountant = dp_accounting.pld.PLDAccountant()
    accountant.compose(event)
    assert epsilon(1.0, privacy_ledger, 1e-5) == pytest.approx(
        accountant.get_epsilon(1e-5), rel=1e-3
    )


def test_the_privacy_spent_is_counted_for_each_participant_by_its_updates() -> None:
    privacy = DifferentialPrivacy(clip=1.0, noise=1.0, at="coordinator", divisor=2)
    run = run_of(privacy)
    run.fold(update("a"), delta(1), "d")
    run.close_round()
    document, tensors = run.state()
    again = run_of(privacy)
    again.restore(document, tensors)
    spent = privacy.spent(again.privacy_ledger.counts)
    assert spent == {
        "epsilon_zero_out": {"a": pytest.approx(epsilon(1.0, 1, 1e-5))},
        "epsilon_replace_one": {"a": pytest.approx(epsilon(0.5, 1, 1e-5))},
    }
    for by_participant in privacy.spent({"a": 2, "b": 1}).values():
        assert by_participant["a"] > by_participant["b"]


def test_who_replaces_updates_moves_a_sum_twice_as_far_as_who_zeroes_them() -> None:
    """By 2 C and not by C, so the accountant has to be told half the noise."""
    privacy = DifferentialPrivacy(clip=1.0, noise=4.0, at="coordinator", divisor=2)
    one, other = delta(80.0), {name: -tensor for name, tensor in delta(80.0).items()}
    clipped, opposite = (
        {name: tensor * privacy.scale(sent) for name, tensor in sent.items()}
        for sent in (one, other)
    )
    apart = joint_norm({name: clipped[name] - opposite[name] for name in clipped})
    assert (joint_norm(clipped), apart) == pytest.approx((1.0, 2.0))
    spent = privacy.spent({"a": 20})
    told = {name: round(by_participant["a"], 2) for name, by_participant in spent.items()}
    assert told == {"epsilon_zero_out": 4.98, "epsilon_replace_one": 11.48}
    for sensitivity, expected in ((1.0, 4.98), (2.0, 11.48)):
        accountant = dp_accounting.pld.PLDAccountant()
        release = dp_accounting.GaussianDpEvent(4.0 / sensitivity)
        accountant.compose(dp_accounting.SelfComposedDpEvent(release, 20))
        assert accountant.get_epsilon(1e-5) == pytest.approx(expected, abs=0.01)


def test_what_a_run_keeps_of_a_private_update_is_that_it_came() -> None:
    """Not its length, not its examples, not what was measured on private data."""
    run = run_of(DifferentialPrivacy(clip=1.0, noise=1.0, at="coordinator", divisor=2))
    told = update("a", num_examples=77).model_copy(update={"metrics": {"loss": 0.5}})
    kept = run.fold(told, delta(80.0), "d")
    assert (kept.num_examples, kept.weight, kept.metrics) == (1, 1.0, {})


def test_the_least_noise_has_an_epsilon_however_long_the_run() -> None:
    """A number that JSON can hold, with the most rounds that there can be."""
    assert math.isfinite(epsilon(1e-6, 2**53, 1e-5))


def test_a_participant_counts_once_in_a_private_round() -> None:
    """Twice in one noisy sum would be twice the sensitivity."""
    run = run_of(DifferentialPrivacy(clip=1.0, noise=1.0, at="coordinator", divisor=2))
    run.fold(update("a"), delta(1), "d")
    refusal = run.judge(update("a").model_copy(update={"base_version": 0}), "another")
    assert refusal is not None
    assert refusal.reason is Reason.DUPLICATE


def test_partial_updates_and_buffers_are_refused() -> None:
    privacy = DifferentialPrivacy(clip=1.0, noise=1.0, at="coordinator", divisor=2)
    refusal = run_of(privacy).inspect({"bias": torch.zeros(10)}, {"bias": "delta"})
    assert refusal is not None
    assert refusal.reason is Reason.INCOMPATIBLE
    with pytest.raises(InvalidInputError, match="floating buffers"):
        privacy.check_model({"mean": torch.zeros(3)}, {"mean": "value"})
    with pytest.raises(InvalidInputError, match="parameters that are not finite, and 'mask'"):
        privacy.check_model({"mask": torch.tensor([0.0, -math.inf])}, {"mask": "delta"})


def test_a_private_update_tells_nothing_but_its_deltas() -> None:
    plan = PrivacyPlan(clip=1.0, noise=TINY, at="participant")
    tensors = {**delta(5.0), "count": torch.tensor(9)}
    made = TrainedUpdate(
        tensors, {**KINDS, "count": "value"}, 77, {"loss": 1.0}, [], 3.0
    )  # literals
    sent = private_update(made, plan, base=tensors, encoding="float32", is_kept=True)
    assert sent.tensors.keys() == {"weight", "bias"}
    assert joint_norm(sent.tensors) == pytest.approx(1.0, rel=1e-6)
    assert (sent.num_examples, sent.metrics, sent.seconds) == (1, {}, 0.0)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"encoding": "topk:0.1"}, "top-k"),
        ({"is_kept": False}, "--state-dir"),
        ({"base": {"weight": torch.zeros(1), "bias": torch.zeros(1), "x": torch.zeros(1)}}, "x"),
    ],
)
def test_what_cannot_be_private_is_not_sent(changed: dict[str, object], words: str) -> None:
    plan = PrivacyPlan(clip=1.0, noise=1.0, at="participant")
    arguments: dict[str, object] = {"base": delta(1), "encoding": "float32", "is_kept": True}
    with pytest.raises(InvalidInputError, match=words):
        private_update(trained(delta(1)), plan, **(arguments | changed))


def test_settings_that_contradict_privacy_are_refused() -> None:
    with pytest.raises(InvalidInputError, match="give both"):
        CoordinatorSettings(dp_clip=1.0)
    with pytest.raises(InvalidInputError, match="top-k"):
        CoordinatorSettings(dp_clip=1.0, dp_noise=1.0, encoding="topk:0.1")
    for noise in (0.0, 1e-9, math.inf):
        with pytest.raises(ValidationError, match="dp_noise"):
            CoordinatorSettings(dp_clip=1.0, dp_noise=noise)
    with pytest.raises(InvalidInputError, match="weight 1"):
        CoordinatorSettings(dp_clip=1.0, dp_noise=1.0, mode="async", staleness="hinge:1:1")
    chosen = CoordinatorSettings(dp_clip=1.0, dp_noise=1.0, min_participants=7).privacy
    assert chosen is not None
    assert chosen.divisor == 7
    assert (
        privacy_settings(
            clip=None, noise=None, at="coordinator", delta=1e-5, divisor=1, encodings=()
        )
        is None
    )

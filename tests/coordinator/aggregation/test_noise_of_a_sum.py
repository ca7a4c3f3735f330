"""Facts about the noise that participants share: the sum has a trusted coordinator's."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from fanfold.coordinator.aggregation.aggregation_settings import AggregationSettings
from fanfold.coordinator.aggregation.differential_privacy import DifferentialPrivacy
from fanfold.coordinator.aggregation.make_aggregation import make_aggregation
from fanfold.coordinator.aggregation.optimizer_spec import parse_optimizer
from fanfold.coordinator.aggregation.privacy_settings import epsilon
from fanfold.coordinator.aggregation.refusals import UpdateLimits
from fanfold.coordinator.aggregation.run_state import RunState
from fanfold.coordinator.aggregation.staleness import parse_staleness
from fanfold.coordinator.settings import CoordinatorSettings
from fanfold.learning import secure_discrete_gaussian
from fanfold.participant.fixed_update import fixed_update
from fanfold.participant.trainer import TrainedUpdate
from fanfold.schemas.errors import InvalidInputError
from fanfold.schemas.fixed_point import fixed_deltas
from fanfold.schemas.messages import FixedPlan, Update

PARTICIPANTS, CLIP, NOISE = 10, 0.5, 1.0
SETTINGS: dict[str, Any] = {
    "encoding": "fixed",
    "masks": ("keeper.pub",),
    "dp_at": "sum",
    "dp_clip": CLIP,
    "dp_noise": NOISE,
    "goal": PARTICIPANTS,
}


def settings(**changed: Any) -> CoordinatorSettings:
    return CoordinatorSettings.model_validate({**SETTINGS, **changed})


def plan_of(given: CoordinatorSettings) -> FixedPlan:
    assert given.fixed is not None
    return given.fixed


def step_of_a_round(given: CoordinatorSettings, deltas: Tensor) -> Tensor:
    """The step of one round among ten participants that all send the same deltas."""
    plan = plan_of(given)
    run = RunState(
        run_id="run",
        tensors={"w": torch.zeros(len(deltas), dtype=torch.float64)},
        kinds={"w": "delta"},
        staleness=parse_staleness("constant"),
        optimizer=parse_optimizer("sgd:lr=1"),
        limits=UpdateLimits(),
        privacy=DifferentialPrivacy.of(given.privacy),
        aggregation=make_aggregation(AggregationSettings(fixed=plan)),
    )
    run.announced("0" * 64)
    trained = TrainedUpdate({"w": deltas}, {"w": "delta"}, 1, {}, [], 0.0)
    for index in range(PARTICIPANTS):
        sent = fixed_update(trained, plan, base={"w": deltas})
        update = Update(
            run="run",
            participant=f"p{index}",
            base_version=0,
            base_digest="0" * 64,
            num_examples=1,
        )
        assert run.inspect(sent.tensors, sent.kinds) is None
        run.fold(update, sent.tensors, f"{index}")
    run.close_round()
    assert set(run.privacy_ledger.counts.values()) == {1}
    return run.tensors["w"]


def test_the_mean_has_the_noise_of_a_trusted_coordinator() -> None:
    """Over 200 rounds: z C / K = 0.05 within 5 %, around the mean of the clipped updates."""
    given = settings()
    deltas = torch.zeros(64, dtype=torch.float64)
    deltas[:2] = torch.tensor([3.0, -4.0])  # clipped to 0.3 and -0.4
    steps = torch.stack([step_of_a_round(given, deltas) for _ in range(200)])
    clipped = deltas / 10
    noise = steps - clipped
    assert noise.std().item() == pytest.approx(NOISE * CLIP / PARTICIPANTS, rel=0.05)
    assert noise.mean().abs().item() < 0.05 / math.sqrt(200)


@pytest.mark.parametrize("std", [0.6, 3.0, 1e5])
def test_discrete_gaussian_noise_is_what_its_formula_says(std: float) -> None:
    """Mean, variance and, where values are few, the frequency of each of them."""
    values = secure_discrete_gaussian(200_000, std).double()
    assert values.mean().abs().item() < 5 * std / math.sqrt(200_000)
    expected = std
    if std < 10:
        support = torch.arange(-60, 61).double()
        weights = torch.exp(-(support**2) / (2 * std**2))
        weights /= weights.sum()
        expected = math.sqrt(float((weights * support**2).sum()))
        for value in (-1.0, 0.0, 1.0, 2.0):
            share = float(weights[support == value])
            found = (values == value).double().mean().item()
            assert found == pytest.approx(share, abs=5 * math.sqrt(share / 200_000) + 1e-4)
    assert values.std().item() == pytest.approx(expected, rel=0.01)


def test_an_update_is_no_longer_than_the_clip_after_rounding() -> None:
    """Or the noise would be for less than one participant can add."""
    plan = FixedPlan(bits=4, clip=4.0, largest=1 << 20, noise=1.0)
    torch.manual_seed(1)
    integers = fixed_deltas({"w": torch.randn(1000) * 3}, plan, num_examples=1)["w"]
    assert integers.double().norm().item() <= 4.0 * 2**4
    with pytest.raises(InvalidInputError, match="can be rounded by more than --dp-clip 4"):
        fixed_deltas({"w": torch.randn(20_000)}, plan, num_examples=1)


def test_no_round_closes_with_less_noise_than_promised() -> None:
    """The quorum is the number of parts into which the noise is divided."""
    assert settings().policy.quorum == PARTICIPANTS
    assert settings(goal="all", min_participants=7).policy.quorum == 7
    fewer = settings(quorum=4)
    assert fewer.policy.quorum == 4
    plan = plan_of(fewer)
    assert plan.noise * 2.0**-plan.bits == pytest.approx(NOISE * CLIP / 2)
    with pytest.raises(InvalidInputError, match="could overflow 32 bits"):
        settings(encoding="fixed:28")


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        (
            {"masks": ()},
            "gives each update but a part of the noise, so that none may be seen alone",
        ),
        ({"clip": 1.0}, "--dp-clip is the clip of a private run; leave --clip out"),
        ({"dp_at": "participant"}, "adds noise to floats, and --encoding fixed makes integers"),
        ({"dp_at": "coordinator"}, "adds noise to floats, and --encoding fixed makes integers"),
    ],
)
def test_what_does_not_go_with_noise_of_a_sum_is_refused(
    changed: dict[str, Any], words: str
) -> None:
    """At the start, with what to change."""
    with pytest.raises((ValidationError, InvalidInputError), match=words):
        settings(**changed)


def test_a_run_ends_before_the_round_that_would_spend_too_much() -> None:
    """Zero-out, of whoever has spent most; in words that say so."""
    privacy = settings().privacy
    assert privacy is not None
    limited = replace(privacy, max_epsilon=epsilon(NOISE, 3, privacy.delta) + 0.01)
    assert limited.exhausted({}) is None
    assert limited.exhausted({"ann": 2, "bob": 1}) is None
    reason = limited.exhausted({"ann": 3, "bob": 1})
    assert reason is not None
    assert "(zero-out) at delta 1e-05, and --dp-max-epsilon is" in reason
    assert privacy.exhausted({"ann": 1000}) is None

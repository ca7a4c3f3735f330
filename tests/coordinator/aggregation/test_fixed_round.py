"""Facts about rounds in fixed point: integers whose sum does not depend on the order of arrival."""

from itertools import permutations
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from fanfold.coordinator.aggregation.aggregation_settings import AggregationSettings
from fanfold.coordinator.aggregation.deltas_alone import check_deltas_alone
from fanfold.coordinator.aggregation.fixed_settings import check_encoding, fixed_plan, num_updates
from fanfold.coordinator.aggregation.make_aggregation import make_aggregation
from fanfold.coordinator.aggregation.optimizer_spec import parse_optimizer
from fanfold.coordinator.aggregation.refusals import Reason, UpdateLimits
from fanfold.coordinator.aggregation.run_state import IN_ROUND, RunState
from fanfold.coordinator.aggregation.staleness import parse_staleness
from fanfold.coordinator.settings import RoundSettings
from fanfold.schemas.errors import InvalidInputError
from fanfold.schemas.fixed_point import EXAMPLES, add_fixed, fixed_deltas, from_fixed, to_fixed
from fanfold.schemas.messages import FixedPlan, Update
from fanfold.schemas.tensor_codec import parameters_sha256

NAMES = ("ann", "bob", "cid", "dee")
PLAN = FixedPlan(bits=20, clip=4.0, largest=1 << 22)


def new_run(plan: FixedPlan | None) -> RunState:
    return RunState(
        run_id="run",
        tensors={"w": torch.zeros(50), "b": torch.ones(3, 2)},
        kinds={"w": "delta", "b": "delta"},
        staleness=parse_staleness("constant"),
        optimizer=parse_optimizer("sgd:lr=1,momentum=0.9"),
        limits=UpdateLimits(max_staleness=3),
        aggregation=make_aggregation(AggregationSettings(fixed=plan)),
    )


def deltas_of(who: str) -> dict[str, Tensor]:
    """Small deltas, and large ones: float sums of such numbers depend on their order."""
    torch.manual_seed(NAMES.index(who))
    scale = 10.0 ** torch.randint(-6, 0, (50,))
    return {"w": torch.randn(50) * scale, "b": torch.randn(3, 2) * 0.1}


def update_of(run: RunState, who: str, num_examples: int = 10) -> Update:
    return Update(
        run="run",
        participant=who,
        base_version=run.version,
        base_digest=f"{run.version:064x}",
        num_examples=num_examples,
    )


def send(run: RunState, who: str, plan: FixedPlan | None, **fields: Any) -> None:
    update = update_of(run, who, **fields)
    tensors = deltas_of(who)
    if plan is not None:
        tensors = fixed_deltas(tensors, plan, num_examples=update.num_examples)
    assert run.judge(update, who) is None
    kinds = {name: "value" if name == EXAMPLES else "delta" for name in tensors}
    assert run.inspect(tensors, kinds) is None
    run.fold(update, tensors, who)


def hash_after(order: tuple[str, ...], plan: FixedPlan | None) -> str:
    run = new_run(plan)
    for _ in range(2):
        run.announced(f"{run.version:064x}")
        for who in order:
            send(run, who, plan)
        run.close_round()
    return parameters_sha256(run.tensors)


def test_any_order_of_arrival_makes_the_same_model() -> None:
    """All 24 orders of four updates have one hash; a mean of floats has several."""
    orders = list(permutations(NAMES))
    assert len({hash_after(order, PLAN) for order in orders}) == 1
    float64 = {float(sum_in(order)) for order in orders}
    assert len(float64) > 1  # so the fact above is worth something


def sum_in(order: tuple[str, ...]) -> Tensor:
    total = torch.zeros(50, dtype=torch.float64)
    for who in order:
        total += deltas_of(who)["w"].double() / 3
    return total.sum()


def test_the_step_is_the_mean_but_for_half_a_unit() -> None:
    """Weighed by examples where there are most, and the same for all where there are not."""
    for most, counts in ((None, (10, 10, 10, 10)), (40, (10, 20, 40, 90))):
        plan = fixed_plan("fixed", clip=4.0, spread=0.0, needed=4, examples=most)
        run = new_run(plan)
        run.announced(f"{0:064x}")
        for who, count in zip(NAMES, counts, strict=True):
            send(run, who, plan, num_examples=count)
        run.close_round()
        weights = [min(count, most or count) for count in counts]
        for name in ("w", "b"):
            before = 0.0 if name == "w" else 1.0
            steps = [
                deltas_of(who)[name].double() * weight
                for who, weight in zip(NAMES, weights, strict=True)
            ]
            step = torch.stack(steps).sum(0) / sum(weights)
            unit = 2.0**-plan.bits * plan.examples * len(NAMES) / sum(weights)
            assert (run.tensors[name].double() - before - step).abs().max() <= unit + 1e-7


def test_the_checkpoint_holds_the_sum_as_integers() -> None:
    """A run that is restored in the middle of a round ends with the same bits."""
    whole, first = new_run(PLAN), new_run(PLAN)
    for run in (whole, first):
        run.announced(f"{0:064x}")
        send(run, "ann", PLAN)
    document, tensors = first.state()
    assert tensors["fixed/w"].dtype == torch.int32
    assert "fixed" in IN_ROUND  # or a commit in the open round would leave the sum out
    second = new_run(PLAN)
    second.restore(document, {name: tensor.clone() for name, tensor in tensors.items()})
    for run in (whole, second):
        send(run, "bob", PLAN)
        run.close_round()
    assert parameters_sha256(whole.tensors) == parameters_sha256(second.tensors)


def test_the_sum_of_the_examples_in_the_protocol() -> None:
    """Scale 2^16: three updates, added in integers."""
    plan = FixedPlan(bits=16, clip=100.0, largest=100 << 16)
    values = ((0.5, -0.25, 1.0, 0.0), (-1.5, 0.125, 0.75, 2.0), (0.25, 0.25, -0.5, -1.0))
    total = torch.zeros(4, dtype=torch.int32)
    for each in values:
        add_fixed(total, to_fixed(torch.tensor(each), plan, 1.0))
    assert total.tolist() == [-49152, 8192, 81920, 65536]
    assert from_fixed(total, plan).tolist() == [-0.75, 0.125, 1.25, 1.0]


def test_sums_wrap_and_come_back() -> None:
    """Modulo 2^32, on which masks stand: what goes over the end returns."""
    total = torch.tensor([2**31 - 1, -(2**31)], dtype=torch.int32)
    add_fixed(total, torch.tensor([5, -7], dtype=torch.int32))
    add_fixed(total, torch.tensor([-6, 8], dtype=torch.int32))
    assert total.tolist() == [2**31 - 2, -(2**31) + 1]


def test_a_long_update_is_shortened_to_the_clip() -> None:
    """All tensors together, as a norm; none of its integers is beyond the largest."""
    deltas = {"w": torch.full((4,), 30.0), "b": torch.full((5,), 30.0)}
    sent = fixed_deltas(deltas, PLAN, num_examples=1)
    norm = torch.cat([from_fixed(each, PLAN) for each in sent.values()]).norm()
    assert norm.item() == pytest.approx(4.0, abs=1e-5)


def test_what_was_trained_stays_as_it_is() -> None:
    """Also where it is float64 already, which no conversion copies."""
    deltas = {"w": torch.full((4,), 30.0, dtype=torch.float64)}
    fixed_deltas(deltas, PLAN, num_examples=1)
    assert deltas["w"].tolist() == [30.0] * 4


def test_no_integer_says_infinity() -> None:
    """The participant says so itself."""
    with pytest.raises(InvalidInputError, match="which fixed point cannot carry; lower"):
        fixed_deltas({"w": torch.tensor([1.0, float("inf")])}, PLAN, num_examples=1)


@pytest.mark.parametrize(
    ("changed", "kind", "reason", "words"),
    [
        ({"w": torch.zeros(50)}, "delta", Reason.INCOMPATIBLE, "'w' is no delta of int32"),
        ({"w": None}, "delta", Reason.INCOMPATIBLE, "takes the deltas of all parameters: 'w'"),
        ({}, "value", Reason.INCOMPATIBLE, "is no delta of int32 of shape"),
        (
            {"w": torch.full((50,), (1 << 22) + 1, dtype=torch.int32)},
            "delta",
            Reason.TOO_LARGE,
            "'w' has an integer beyond 4194304",
        ),
    ],
)
def test_what_no_sum_of_integers_takes(
    changed: dict[str, Any], kind: str, reason: Reason, words: str
) -> None:
    """Another dtype, a partial update, a value, and an integer that could overflow the sum."""
    run = new_run(PLAN)
    tensors = {**fixed_deltas(deltas_of("ann"), PLAN, num_examples=1), **changed}
    tensors = {name: each for name, each in tensors.items() if each is not None}
    refusal = run.inspect(tensors, dict.fromkeys(tensors, kind))
    assert refusal is not None
    assert refusal.reason is reason
    assert words in str(refusal)


def test_a_round_takes_no_more_than_its_sum_has_room_for() -> None:
    """What comes beyond is refused, in words; the next round begins with room again."""
    plan = FixedPlan(bits=20, clip=4.0, largest=(2**31 - 1) // 2)
    assert num_updates(plan) == 2
    run = new_run(plan)
    run.announced(f"{0:064x}")
    send(run, "ann", plan)
    send(run, "bob", plan)
    refusal = run.judge(update_of(run, "cid"), "cid")
    assert refusal is not None
    assert str(refusal) == (
        "the round is full: its sum has room for 2 updates; see --encoding fixed"
    )
    run.close_round()
    run.announced(f"{1:064x}")
    send(run, "cid", plan)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (
            {"encoding": "fixed:28", "goal": 8},
            (
                "a sum of 8 updates with values up to 16 in steps of 2\\^-28 could overflow 32 "
                "bits; choose --encoding fixed:23 or fewer bits, or a lower --clip or --goal"
            ),
        ),
        (
            {"encoding": "fixed", "goal": 8, "max_examples": 2**30},
            (
                "a sum of 8 updates of up to 1073741824 examples could overflow 32 bits; set "
                "--max-examples 268435455 or less"
            ),
        ),
        ({"encoding": "fixed:31"}, "fixed:31 has more fraction bits than an integer of 32 bits"),
        ({"encoding": "fixed", "aggregator": "median"}, "--aggregator median looks at single"),
        ({"encoding": "fixed", "aggregator": "clip:1"}, "set --clip, and participants do it"),
        ({"encoding": "fixed", "mode": "exact"}, "--mode exact keeps everybody's latest model"),
        ({"encoding": "fixed", "normalize_steps": True}, "--normalize-steps divides single"),
        (
            {"encoding": "fixed", "mode": "buffered", "staleness": "polynomial:1"},
            "--staleness polynomial:1 weighs single updates, and --encoding fixed knows only",
        ),
        ({"encoding_down": "fixed"}, "cannot be sent as fixed, which is for sums of updates"),
    ],
)
def test_what_does_not_go_with_fixed_point_is_refused(given: dict[str, Any], words: str) -> None:
    """At the start, with what to change."""
    with pytest.raises((ValidationError, InvalidInputError), match=words):
        RoundSettings(**given)


def test_bits_are_chosen_from_goal_and_clip() -> None:
    """The most with which four times the goal, and no less than 64 updates, still fit."""
    for goal, clip, bits in ((8, 16.0, 20), (8, 1.0, 24), (100, 1.0, 22), (100_000, 16.0, 8)):
        plan = RoundSettings(encoding="fixed", goal=goal, clip=clip).fixed
        assert plan is not None
        assert plan.bits == bits
        assert num_updates(plan) >= max(64, 4 * goal) - 1
    check_encoding("fixed:30")


def test_buffered_rounds_weigh_all_the_same() -> None:
    """The default weight of stale updates gives way to the only one that a sum knows."""
    assert RoundSettings(encoding="fixed", mode="buffered").staleness_weight == "constant"


def test_networks_with_running_statistics_are_refused() -> None:
    """They are no deltas."""
    tensors = {"w": torch.ones(2), "var": torch.ones(2)}
    with pytest.raises(InvalidInputError, match="--encoding fixed does not go with floating buf"):
        check_deltas_alone("--encoding fixed", tensors, {"w": "delta", "var": "value"})

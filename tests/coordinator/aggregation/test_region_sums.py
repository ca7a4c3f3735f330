"""Facts about updates that are the sums of regions, at the coordinator above."""

import pytest
import torch
from torch import Tensor

from fanfold.coordinator.aggregation.aggregation_settings import AggregationSettings
from fanfold.coordinator.aggregation.differential_privacy import DifferentialPrivacy
from fanfold.coordinator.aggregation.fixed_settings import fixed_plan, num_updates
from fanfold.coordinator.aggregation.make_aggregation import make_aggregation
from fanfold.coordinator.aggregation.optimizer_spec import parse_optimizer
from fanfold.coordinator.aggregation.privacy_settings import privacy_settings
from fanfold.coordinator.aggregation.refusals import UpdateLimits
from fanfold.coordinator.aggregation.run_state import RunState
from fanfold.coordinator.aggregation.staleness import parse_staleness
from fanfold.coordinator.settings import RunSettings
from fanfold.schemas.errors import InvalidInputError
from fanfold.schemas.fixed_point import EXAMPLES
from fanfold.schemas.messages import FixedPlan, Update

DIGEST = "0" * 64


def new_run(
    plan: FixedPlan | None,
    *,
    most: int | None = 5,
    max_examples: int | None = None,
    privacy: DifferentialPrivacy | None = None,
) -> RunState:
    run = RunState(
        run_id="run",
        tensors={"w": torch.zeros(3)},
        kinds={"w": "delta"},
        staleness=parse_staleness("constant"),
        optimizer=parse_optimizer("sgd:lr=1"),
        limits=UpdateLimits(max_region_updates=most, max_examples=max_examples),
        privacy=privacy,
        aggregation=make_aggregation(AggregationSettings(fixed=plan)),
    )
    run.announced(DIGEST)
    return run


def update_of(who: str, updates: int | None, num_examples: int = 10) -> Update:
    return Update(
        run="run",
        participant=who,
        base_version=0,
        base_digest=DIGEST,
        num_examples=num_examples,
        updates=updates,
    )


def refusal(run: RunState, update: Update, tensors: dict[str, Tensor]) -> str | None:
    kinds = {name: "value" if name == EXAMPLES else "delta" for name in tensors}
    found = run.judge(update, update.participant) or run.inspect(
        tensors, kinds, updates=update.updates
    )
    return None if found is None else str(found)


def test_a_sum_of_a_region_counts_as_often_as_it_has_updates() -> None:
    """Four of a region and one alone: the step is the mean of five."""
    plan = FixedPlan(bits=4, clip=4.0, largest=64)
    run = new_run(plan)
    for who, updates, value in (("west", 4, 200), ("ann", None, 40)):
        update, tensors = update_of(who, updates), {"w": torch.full((3,), value, dtype=torch.int32)}
        assert refusal(run, update, tensors) is None
        run.fold(update, tensors, who)
    assert [each.updates for each in run.contributions] == [4, None]
    assert [each.document().get("updates") for each in run.contributions] == [4, None]
    run.close_round()
    assert run.tensors["w"].tolist() == [240 / 16 / 5] * 3


@pytest.mark.parametrize(
    ("updates", "value", "says"), [(4, 256, None), (4, 257, "256"), (None, 65, "64")]
)
def test_an_integer_of_a_sum_is_at_most_the_sum_of_the_largest(
    updates: int | None, value: int, says: str | None
) -> None:
    """Who names more updates may send larger integers, and nobody else."""
    run = new_run(FixedPlan(bits=4, clip=4.0, largest=64))
    tensors = {"w": torch.full((3,), value, dtype=torch.int32)}
    found = refusal(run, update_of("west", updates), tensors)
    expected = f"update norm above the limit: 'w' has an integer beyond {says}, see --clip"
    assert found == (None if says is None else expected)


def test_no_region_takes_part_unless_the_coordinator_lets_it() -> None:
    """The refusal names the option; more updates than it allows are refused, too."""
    tensors = {"w": torch.full((3,), 0.1)}
    for most, said in ((None, "none"), (3, "3")):
        found = refusal(new_run(None, most=most), update_of("west", 4), tensors)
        expected = f"the sum of a region: of 4 updates; {said} allowed, see --max-region-updates"
        assert found == expected
    assert refusal(new_run(None, most=4), update_of("west", 4), tensors) is None


def test_a_private_run_takes_no_sums() -> None:
    """Its noise covers what one participant can add, and nobody bounded that in a sum."""
    privacy = DifferentialPrivacy.of(
        privacy_settings(
            clip=1.0,
            noise=1.0,
            at="coordinator",
            delta=1e-5,
            divisor=2,
            max_epsilon=None,
            encodings=("float32", "float32"),
        )
    )
    found = refusal(
        new_run(None, privacy=privacy), update_of("west", 2), {"w": torch.full((3,), 0.1)}
    )
    assert found == (
        "the sum of a region: of 2 updates; a private run bounds what each participant adds, and "
        "in a sum nobody can"
    )


def test_a_region_may_have_the_examples_of_all_its_updates() -> None:
    """With a limit for each: 30 of three, but not of two."""
    tensors = {"w": torch.full((3,), 0.1)}
    run = new_run(None, max_examples=10)
    assert refusal(run, update_of("west", 3, num_examples=30), tensors) is None
    found = refusal(run, update_of("west", 2, num_examples=30), tensors)
    assert found == (
        "more examples than allowed: 30, 20 allowed, see --max-examples and, for the sum of a "
        "region, --max-region-updates"
    )
    assert "51, 50 allowed" in str(refusal(run, update_of("west", 5, num_examples=51), tensors))


def test_the_plan_has_room_for_all_that_regions_may_send() -> None:
    """Ten regions of a hundred are a thousand updates."""
    settings = RunSettings(encoding="fixed", goal=10, max_region_updates=100)
    assert settings.fixed is not None
    assert num_updates(settings.fixed) >= 1000
    plan = fixed_plan("fixed", clip=16.0, spread=0.0, needed=1000, examples=None)
    assert settings.fixed == plan
    with pytest.raises(InvalidInputError, match="a sum of 1000 updates with values up to 16 in"):
        RunSettings(encoding="fixed:20", goal=10, max_region_updates=100)


def test_a_sum_fills_the_round_as_its_updates_would() -> None:
    """A sum that has no room is refused whole."""
    run = new_run(FixedPlan(bits=4, clip=4.0, largest=2**29))  # room for three
    tensors = {"w": torch.ones(3, dtype=torch.int32)}
    first = update_of("west", 2)
    assert refusal(run, first, tensors) is None
    run.fold(first, tensors, "west")
    found = refusal(run, update_of("east", 2), tensors)
    assert found == "the round is full: its sum has room for 3 updates; see --encoding fixed"
    assert refusal(run, update_of("ann", None), tensors) is None

"""Facts about the run below: what it goes on with, whatever came while nobody was there."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from fanfold.coordinator.aggregation.refusals import Reason, UpdateLimits
from fanfold.region.regional_run import RegionalRun
from fanfold.region.sums import VersionFromAbove
from fanfold.schemas.errors import InvalidInputError
from fanfold.schemas.messages import GlobalParameters, TrainingPlan, Update

DIGESTS = "a" * 64, "b" * 64


def given_version(number: int, *, value: float = 0.0, size: int = 2) -> VersionFromAbove:
    message = GlobalParameters(
        run="r", version=number, rounds=9, plan=TrainingPlan(epochs=1, batch_size=1, lr=0.1)
    )
    tensors = {"weight": torch.full((size,), value)}
    return VersionFromAbove(message, DIGESTS[number % 2], tensors, {"weight": "delta"})


def run_of(given: VersionFromAbove) -> RegionalRun:
    return RegionalRun(given, UpdateLimits(max_staleness=0, max_examples=None, max_norm=None))


def update_of(run: RegionalRun, participant: str) -> Update:
    return Update(
        run="r",
        participant=participant,
        base_version=run.version,
        base_digest=run.digests[run.version],
        num_examples=3,
        metrics={"loss": 1.0},
    )


def fold(run: RegionalRun, participant: str, value: float) -> None:
    update = update_of(run, participant)
    assert run.judge(update, "d" * 64) is None
    run.fold(update, {"weight": torch.full((2,), value)}, "d" * 64)


def begun(given: VersionFromAbove) -> RegionalRun:
    """Return a run whose version is published, with two updates in its open round."""
    run = run_of(given)
    run.announced("c" * 64)
    fold(run, "p", 1.0)
    fold(run, "q", 3.0)
    return run


def restored(run: RegionalRun, given: VersionFromAbove) -> RegionalRun:
    """Return what another process makes of a run's checkpoint, given a version."""
    document, tensors = run.state()
    other = run_of(given)
    other.restore(document, {name: tensor.clone() for name, tensor in tensors.items()})
    return other


def told(run: RegionalRun) -> tuple[list[float], int, int, Any]:
    total = run.total()
    return total.tensors["weight"].tolist(), total.num_examples, total.updates, total.metrics


def test_the_same_version_goes_on_with_what_was_folded() -> None:
    """A region that is killed counts nothing twice, and tells the same sum."""
    run = begun(given_version(4))
    run.is_closed = True
    again = restored(run, given_version(4))
    assert told(again) == told(run) == ([2.0, 2.0], 6, 2, {"loss": 1.0})
    assert again.is_closed
    assert again.num_lost == 0


def test_what_an_earlier_process_left_is_no_news() -> None:
    """Its checkpoint may have gone on since it was read, while that process was there."""
    run = begun(given_version(5))
    run.is_closed = True
    again = restored(run, replace(given_version(4), is_own=True))
    assert (told(again), again.is_closed, again.next) == (told(run), True, None)


def test_a_closed_set_is_followed_by_the_version_that_came() -> None:
    """Its sum was sent before: that version came after it."""
    run = begun(given_version(4))
    run.is_closed = True
    again = restored(run, given_version(5, value=7.0))
    assert [each.participant for each in again.close_round()] == ["p", "q"]
    assert (again.version, again.is_closed) == (1, False)
    assert again.tensors["weight"].tolist() == [7.0, 7.0]
    assert again.announcement().version == 1


def test_an_open_round_for_which_nobody_waits_is_given_up() -> None:
    """Its updates are told as lost, and their senders may answer the next version."""
    again = restored(begun(given_version(4)), given_version(5, value=7.0))
    assert (again.num_lost, again.version, again.contributions) == (2, 1, [])
    again.announced("e" * 64)
    fold(again, "p", 1.0)
    assert told(again)[0] == [1.0, 1.0]


def test_nothing_comes_into_a_closed_set() -> None:
    """Not even what lay in the spool."""
    run = begun(given_version(4))
    run.is_closed = True
    refusal = run.judge_document(update_of(run, "late"))
    assert refusal is not None
    assert refusal.reason is Reason.FULL


def test_a_region_below_a_region_says_how_deep_it_is() -> None:
    """The root says nothing, its regions 1, theirs 2."""
    given = given_version(4)
    assert run_of(given).announcement().level == 1
    deeper = replace(given, message=given.message.model_copy(update={"level": 1}))
    assert run_of(deeper).announcement().level == 2


def test_another_network_above_is_refused() -> None:
    """Of the same run: then somebody changed it behind the region's back."""
    run = begun(given_version(4))
    run.is_closed = True
    run.next = given_version(5, size=3)
    with pytest.raises(InvalidInputError, match=r"other tensors than before.*another --out"):
        run.close_round()

"""Facts about the end of a coordinator, whatever ended it."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanfold.registry.record import State
from fanfold.schemas.events.coordinator import RunFinished
from fanfold.serving.ends import MOST_FAILURES, SIGNALLED, Ending, after
from tests.registry.test_run_registry import NOON, record

FINISHED = RunFinished(rounds=3, accuracy=0.5, model="m", parameters_sha256="ab")


def ending(code: int, **given: Any) -> Ending:
    usual: dict[str, Any] = {
        "words": "why",
        "has_message": False,
        "finished": None,
        "was_started": True,
        "was_stopped": False,
        "failures": 1,
    }
    return Ending(code=code, **(usual | given))


@given(st.sampled_from([-9, -15, -11, *SIGNALLED]), st.integers(1, 100), st.booleans())
def test_one_that_was_killed_is_started_again_however_often(
    code: int, failures: int, has_message: bool
) -> None:
    """An old message in its log is none of its own."""
    run = record(state="open")
    ended = ending(code, failures=failures, has_message=has_message)
    assert after(run, ended, NOON) == (run, "start again")


def test_a_run_is_finished_when_its_coordinator_says_so_and_ends_well() -> None:
    run, what_next = after(record(state="open"), ending(0, finished=FINISHED), NOON)
    assert (run.state, run.parameters_sha256, run.accuracy) == ("finished", "ab", 0.5)
    assert (run.ended_at, what_next) == (NOON, "nothing")


def test_a_run_that_was_finished_and_killed_at_once_finishes_again() -> None:
    """The coordinator goes on from its checkpoint, and says the same."""
    assert after(record(state="open"), ending(-9, finished=FINISHED), NOON)[1] == "start again"


@pytest.mark.parametrize(
    "ended",
    [
        ending(2, has_message=True, was_started=False),
        ending(1, has_message=True),
        ending(1, failures=MOST_FAILURES),
        ending(2, has_message=True, failures=MOST_FAILURES),
    ],
)
def test_what_would_end_so_again_fails_with_its_own_words(ended: Ending) -> None:
    """Wrong input, a run that can go no further, and a crash that repeats itself."""
    run, what_next = after(record(state="open"), ended, NOON)
    assert (run.state, run.reason, what_next) == ("failed", "why", "nothing")


@pytest.mark.parametrize(
    "ended",
    [
        ending(2, has_message=True, failures=MOST_FAILURES - 1),  # it lost its broker for good
        ending(1, failures=MOST_FAILURES - 1),  # it crashed
        ending(1, was_stopped=True, failures=MOST_FAILURES),  # somebody else stopped it
    ],
)
def test_what_may_go_better_is_tried_again(ended: Ending) -> None:
    assert after(record(state="open"), ended, NOON)[1] == "start again"


@given(st.sampled_from(["queued", "paused", "stopped"]), st.integers(-15, 143))
def test_a_run_that_should_have_no_coordinator_stays_what_it_is(state: State, code: int) -> None:
    run = record(state=state)
    assert after(run, ending(code, was_stopped=True), NOON) == (run, "nothing")


def test_a_run_that_is_stopped_gets_its_models_before_it_is_over() -> None:
    """By a second coordinator, which trains no more."""
    stopping = record(state="stopping", reason="stopped by ada")
    assert after(stopping, ending(1, was_stopped=True), NOON)[1] == "finish"
    assert after(stopping, ending(-9), NOON)[1] == "finish"
    run, _ = after(stopping, ending(0, finished=FINISHED), NOON)
    assert (run.state, run.reason, run.parameters_sha256) == ("stopped", "stopped by ada", "ab")

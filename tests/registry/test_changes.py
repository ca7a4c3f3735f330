"""Facts about what may become of a run, whatever is asked in whatever order."""

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanfold.registry.changes import changed, new_name, next_to_open
from fanfold.registry.models import parse_parent, parse_wanted
from fanfold.registry.record import RunRecord, State
from fanfold.schemas.errors import InvalidInputError
from fanfold.schemas.operator_messages import Change
from tests.registry.test_run_registry import NOON, record

CHANGES: tuple[Change, ...] = get_args(Change)
STATES: tuple[State, ...] = get_args(State)


def after(before: RunRecord, change: Change, request: str = "r") -> RunRecord:
    return changed(before, change, request=request, login="ada", now=NOON)


def tried(before: RunRecord, change: Change, request: str = "r") -> RunRecord:
    """The record after a request, which is the same one where it is refused."""
    try:
        return after(before, change, request)
    except InvalidInputError:
        return before


@given(st.sampled_from(STATES), st.lists(st.sampled_from(CHANGES), max_size=8))
def test_a_request_that_comes_twice_acts_once(state: State, changes: list[Change]) -> None:
    """Whatever came after it: so a service may be killed before it acknowledges."""
    once = twice = record(state=state, coordinator_run="c")
    for index, change in enumerate(changes):
        once = tried(once, change, f"r{index}")
        twice = tried(tried(twice, change, f"r{index}"), change, f"r{index}")
    assert once == twice


@given(st.sampled_from(STATES), st.sampled_from(CHANGES))
def test_what_is_refused_says_why_and_what_to_do(state: State, change: Change) -> None:
    before = record(state=state)
    if tried(before, change) == before:
        with pytest.raises(InvalidInputError, match=f"^the run first is {state}; [a-z`]"):
            after(before, change)


def test_a_run_is_paused_and_goes_on_at_its_old_place() -> None:
    paused = after(record(state="open"), "pause")
    assert (paused.state, paused.reason) == ("paused", "paused by ada")
    again = after(paused, "go-on", "s")
    assert (again.state, again.reason, again.number) == ("queued", None, 1)


def test_a_run_without_a_version_is_over_once_it_is_stopped() -> None:
    assert after(record(state="queued"), "stop").state == "stopped"
    assert after(record(state="open", coordinator_run="c"), "stop").state == "stopping"


@pytest.mark.parametrize(
    ("state", "change", "words"),
    [
        ("finished", "pause", "only a run that is queued or open can be paused"),
        ("finished", "go-on", "`fanfold submit --from` begins a new one from its model"),
        ("queued", "close-round", "only the round of an open run can be closed"),
        ("open", "remove", "stop or pause it first"),
    ],
)
def test_what_cannot_be_done_is_refused_in_words(state: State, change: Change, words: str) -> None:
    with pytest.raises(InvalidInputError, match=words):
        after(record(state=state), change)


@given(
    st.lists(st.tuples(st.integers(-3, 3), st.sampled_from(STATES)), max_size=12),
    st.integers(0, 4),
    st.integers(1, 4),
)
def test_runs_are_opened_by_priority_and_then_by_age(
    runs: list[tuple[int, State]], at_work: int, parallel_runs: int
) -> None:
    records = [
        record(f"run-{number}", number=number, priority=priority, state=state)
        for number, (priority, state) in enumerate(runs)
    ]
    opened = next_to_open(records, at_work=at_work, parallel_runs=parallel_runs)
    queued = {each.run: each for each in records if each.state == "queued"}
    assert len(opened) == min(len(queued), max(0, parallel_runs - at_work))
    left = queued.keys() - set(opened)
    keys = [(-queued[run].priority, queued[run].number) for run in opened]
    assert keys == sorted(keys)
    assert all(keys[-1] < (-queued[run].priority, queued[run].number) for run in left if keys)


def test_a_run_without_a_name_gets_one_that_can_be_read() -> None:
    assert new_name("digits", ()) == "digits-1"
    assert new_name("radiology:Radiology", {"radiology-1"}) == "radiology-2"


def test_a_version_of_a_run_is_named_after_an_at() -> None:
    assert parse_parent("first") == ("first", "last")
    assert parse_parent("first@best") == ("first", "best")
    assert parse_parent("first@12") == ("first", 12)
    with pytest.raises(InvalidInputError, match="'newest' is no version; name last, best or a"):
        parse_wanted("newest")

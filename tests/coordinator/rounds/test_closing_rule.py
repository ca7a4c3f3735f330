"""Facts about when a round closes, on a clock of our own."""

import math
from typing import Any

from fanfold.coordinator.rounds.closing_rule import OpenRound, RoundPolicy

ALL = frozenset({"ann", "bob", "cid"})


def opened(**policy: Any) -> OpenRound:
    return OpenRound(RoundPolicy(**policy), 1, expected=ALL, opened_at=100.0)


def test_all_waits_for_everybody_who_was_present() -> None:
    """And not a moment longer."""
    current = opened()
    for name in ("ann", "bob"):
        current.count(name, staleness=0)
        assert not current.may_close(101.0, ALL)
    current.count("cid", staleness=0)
    assert current.may_close(101.0, ALL)


def test_who_joins_contributes_but_does_not_raise_the_goal() -> None:
    """Four updates where three were expected; the fourth is welcome and not waited for."""
    current = opened()
    present = ALL | {"dan"}
    for name in ("ann", "dan", "bob"):
        current.count(name, staleness=0)
    assert not current.may_close(101.0, present)
    current.count("cid", staleness=0)
    assert current.may_close(101.0, present)
    assert current.counted == 4


def test_a_goodbye_lowers_the_goal() -> None:
    """Nobody waits for one who left."""
    current = opened()
    current.count("ann", staleness=0)
    current.count("bob", staleness=0)
    assert current.may_close(101.0, ALL - {"cid"})


def test_a_refused_answer_is_not_waited_for() -> None:
    """Nothing better will come, but it counts toward nothing."""
    current = opened()
    current.answered |= {"ann", "bob", "cid"}
    assert not current.may_close(101.0, ALL)
    current.count("ann", staleness=0)
    assert current.may_close(101.0, ALL)


def test_the_deadline_closes_with_the_quorum_only() -> None:
    """Once it has passed, the round closes as soon as the quorum is there."""
    current = opened(quorum=2, deadline_seconds=10.0)
    current.count("ann", staleness=0)
    assert not current.may_close(200.0, ALL)
    current.count("bob", staleness=0)
    assert not current.may_close(109.9, ALL)
    assert current.may_close(110.0, ALL)


def test_a_round_without_updates_never_closes() -> None:
    """The quorum is at least one."""
    assert not opened(deadline_seconds=1.0).may_close(1e9, frozenset())


def test_a_number_is_capped_by_those_present_and_never_below_the_quorum() -> None:
    """A goal of 10 among three is a goal of three."""
    current = opened(goal=10, quorum=2)
    assert current.goal(ALL) == 3
    assert current.goal(frozenset({"ann"})) == 2
    assert opened(goal=2).goal(ALL) == 2


def test_stale_updates_count_only_outside_sync_mode() -> None:
    """In sync mode a late one is folded at most, and closes nothing."""
    sync = opened(goal=1)
    sync.count("ann", staleness=1)
    assert not sync.may_close(101.0, ALL)
    buffered = opened(goal=1, only_fresh_count=False)
    buffered.count("ann", staleness=1)
    assert buffered.may_close(101.0, ALL)
    assert buffered.answered == set()


def test_the_deadline_stands_still_while_nothing_can_be_received() -> None:
    """A broker that is away for hours, or a full disk, makes nobody late."""
    current = opened(quorum=1, deadline_seconds=10.0)
    current.count("ann", staleness=0)
    current.cannot_hear(104.0)
    current.cannot_hear(900.0)
    assert not current.may_close(5000.0, ALL)
    assert current.next_reminder == math.inf
    current.hears_again(5000.0)
    assert not current.may_close(5005.9, ALL)
    assert current.may_close(5006.0, ALL)


def test_what_was_not_heard_before_the_version_was_out_delays_nothing() -> None:
    """The deadline counts from then, and stands still from then where it has to."""
    current = opened(deadline_seconds=10.0)
    current.cannot_hear(90.0)
    current.published(200.0)
    current.hears_again(203.0)
    assert current.deadline == 213.0


def test_who_owes_an_answer_is_reminded_once_every_deadline() -> None:
    current = opened(deadline_seconds=10.0)
    assert current.next_reminder == 110.0
    current.reminded(111.0)
    assert current.next_reminder == 121.0


def test_a_deadline_closes_only_once_what_came_before_it_is_read() -> None:
    """Two events waited when it passed; what comes after them is late."""
    current = opened(quorum=1, deadline_seconds=10.0)
    current.count("ann", staleness=0)
    asked = [current.is_due(200.0, ALL, num_unread=number) for number in (2, 9, 9)]
    assert asked == [False, False, True]


def test_a_full_round_closes_whatever_is_unread() -> None:
    """Nobody who is waited for could be in what is left."""
    current = opened(deadline_seconds=10.0)
    for name in ALL:
        current.count(name, staleness=0)
    assert current.is_due(200.0, ALL, num_unread=9)

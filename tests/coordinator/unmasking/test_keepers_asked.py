"""Whom a coordinator asks for which masks: plain values, and no broker."""

from fanfold.coordinator.unmasking.keepers_asked import KeepersAsked
from fanfold.schemas.keeper_messages import Approval


def approval(keeper: int) -> Approval:
    return Approval(keeper=keeper, signature="0" * 128)


def test_one_keeper_is_asked_for_its_masks_and_again_when_it_is_silent() -> None:
    """It needs nobody's approval."""
    asked = KeepersAsked(1, again_seconds=10)
    assert asked.questions(0) == [(0, (0,))]
    assert asked.questions(9) == []
    assert asked.due_at == 10
    assert asked.questions(10) == [(0, (0,))]
    assert asked.told(0, (0,))
    assert asked.is_done


def test_three_keepers_approve_first_and_two_of_them_tell_all() -> None:
    """The first that approved tells the sums of its two seeds, the other that of the third."""
    asked = KeepersAsked(3, again_seconds=10)
    assert asked.questions(0) == [(0, ()), (1, ()), (2, ())]
    asked.approved(approval(2))
    assert asked.questions(1) == []
    asked.approved(approval(0))
    assert asked.questions(2) == [(0, (1, 2)), (2, (0,))]
    assert asked.told(2, (0,))
    assert not asked.is_done
    assert asked.told(0, (1, 2))
    assert asked.is_done


def test_another_keeper_takes_over_what_a_dead_one_was_asked_for() -> None:
    """Also where it died between its approval and its answer; what is known is not asked again."""
    asked = KeepersAsked(3, again_seconds=10)
    asked.questions(0)
    for keeper in range(3):
        asked.approved(approval(keeper))
    assert asked.questions(0) == [(0, (1, 2)), (1, (0,))]
    assert asked.told(1, (0,))
    assert asked.questions(10) == [(1, (2,)), (2, (1,))]
    assert asked.told(2, (1,))
    assert not asked.told(0, (1, 2))  # late, and no longer of use
    assert asked.told(1, (2,))
    assert asked.is_done


def test_masks_that_a_keeper_does_not_hold_or_that_are_known_are_not_added() -> None:
    """Or a sum would be taken away twice."""
    asked = KeepersAsked(3, again_seconds=10)
    assert not asked.told(0, (0,))
    assert not asked.told(0, (1, 1))
    assert not asked.told(0, ())
    assert asked.told(0, (1,))
    assert not asked.told(2, (0, 1))
    assert asked.told(2, (0,))


def test_two_refusals_of_three_end_it_and_one_does_not() -> None:
    """Who refused is not asked again."""
    asked = KeepersAsked(3, again_seconds=10)
    asked.questions(0)
    asked.refused(1, "a set of one")
    assert not asked.is_refused
    assert asked.questions(10) == [(0, ()), (2, ())]
    asked.refused(0, "a set of one")
    assert asked.is_refused

"""What an honest sender may do, however short the rounds are."""

from fanfold.coordinator.admission.rate_limits import (
    MAX_ANSWERS,
    MAX_ATTEMPTS,
    MAX_LATE,
    MAX_MALFORMED,
    RateLimits,
    Verdict,
)
from fanfold.coordinator.aggregation.refusals import Reason, Refusal
from fanfold.schemas.chunking import ChunkHeader, Labels, WholeMessage

ANN = ("ann", "ann")


LATE = Refusal(Reason.STALE, "version 0 is 7 behind, 0 allowed")


def verdict(keeper: RateLimits, digest: str, outside: Refusal | None = None) -> Verdict:
    """The verdict on an update of one chunk, of whose labels `outside` says something."""
    labels = Labels(run="r", version=0, participant="ann", examples=1)
    whole = WholeMessage("Update", digest, 1, 1024, 1024, labels)
    header = ChunkHeader(whole, 0, bytes(32))
    return keeper.of_chunk(ANN, header, outside, instance="i", counted_before=False)


def test_what_came_too_late_is_no_attempt() -> None:
    """Where sixteen fast ones each close rounds of 10 ms, most of their updates are too stale."""
    keeper = RateLimits()
    keeper.open_round(1000.0)
    for number in range(MAX_LATE):
        assert verdict(keeper, f"late {number}", LATE).refusal is LATE
    for number in range(MAX_ATTEMPTS):
        assert verdict(keeper, f"new {number}").refusal is None
    refusal = verdict(keeper, "one too many").refusal
    assert refusal is not None
    assert refusal.reason is Reason.FLOOD


def test_lateness_without_end_is_a_flood() -> None:
    """Counting it takes memory."""
    keeper = RateLimits()
    keeper.open_round(1000.0)
    for number in range(MAX_LATE + MAX_ATTEMPTS):
        assert verdict(keeper, f"late {number}", LATE).refusal is LATE
    refusal = verdict(keeper, "one too many").refusal
    assert refusal is not None
    assert refusal.reason is Reason.FLOOD


def test_one_refusal_of_many_chunks_is_counted_once_and_told_once() -> None:
    """By the first chunk that comes, whichever that is, and by the one with the number 0."""
    keeper = RateLimits()
    labels = Labels(run="r", version=3, participant="ann", examples=1)
    whole = WholeMessage("Update", "d", 4, 1024, 4096, labels)
    verdicts = [
        keeper.of_chunk(
            ANN, ChunkHeader(whole, index, bytes(32)), LATE, instance="i", counted_before=False
        )
        for index in (2, 1, 3, 0)
    ]
    assert [each.refusal for each in verdicts] == [LATE] * 4
    assert [each.is_counted for each in verdicts] == [True, False, False, True]
    assert [each.may_note for each in verdicts] == [True, False, False, False]
    assert [each.may_answer for each in verdicts] == [True, False, False, False]


def test_the_same_update_counted_already_is_refused_without_a_word() -> None:
    """It comes again after every lost connection; another one on its version is told why."""
    keeper = RateLimits()
    again = verdict(keeper, "counted", Refusal(Reason.DUPLICATE))
    assert (again.is_counted, again.may_note, again.may_answer) == (True, False, False)
    other = verdict(keeper, "other", Refusal(Reason.DUPLICATE, "another one counts"))
    assert (other.is_counted, other.may_note, other.may_answer) == (True, True, True)


def test_mistakes_are_noted_so_often_and_each_is_answered_once() -> None:
    """What is malformed is dropped without a word after that; an impostor's login is still told."""
    keeper = RateLimits()
    wrong = Refusal(Reason.MALFORMED, "no header")
    first, *others = [keeper.of_mistake("lab", wrong, can_answer=True) for _ in range(100)]
    assert (first.may_note, first.may_answer) == (True, True)
    assert sum(each.may_note for each in others) == MAX_MALFORMED - 1
    assert not any(each.may_answer for each in others)
    new = Refusal(Reason.MALFORMED, "another mistake")
    assert not keeper.of_mistake("lab", new, can_answer=True).may_answer
    impostor = Refusal(Reason.WRONG_SENDER, "the login 'lab' may not speak for 'ann'")
    late = keeper.of_mistake("lab", impostor, can_answer=True)
    assert (late.may_note, late.may_answer) == (False, True)


def test_who_has_no_queue_yet_is_told_of_the_same_mistake_once_it_has_one() -> None:
    keeper = RateLimits()
    wrong = Refusal(Reason.MALFORMED, "no header")
    assert not keeper.of_mistake("lab", wrong, can_answer=False).may_answer
    assert keeper.of_mistake("lab", wrong, can_answer=True).may_answer


def test_no_sender_is_told_of_more_than_so_many_refusals() -> None:
    """Of each version once for each start; then silence, and what counts is still looked at."""
    keeper = RateLimits()
    refusal = Refusal(Reason.NON_FINITE, "in 'weight'")
    told = [
        keeper.of_update(ANN, f"{number}", number, refusal, instance="i").may_answer
        for number in range(100)
    ]
    assert sum(told) == MAX_ANSWERS
    assert verdict(keeper, "fine") == Verdict()

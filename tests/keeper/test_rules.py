"""Facts about keepers: what they tell, and what they refuse in words."""

from collections.abc import Callable
from contextlib import suppress
from itertools import combinations, product

import numpy as np
import pytest
from keeper_trials import NAMES, WORDS, Federation, clear_sum, masked_sum, wanted

from fanfold.keeper.journal import FILE
from fanfold.schemas.keeper_messages import Approval, Masks, MasksRefused, MasksWanted, SetApproved
from fanfold.sealing import mask_seeds
from fanfold.sealing.mask_seeds import SeedsError, open_seeds
from fanfold.sealing.masks import sum_of_masks

Make = Callable[[int], Federation]


def test_the_sum_less_the_masks_is_the_sum_of_the_integers(federation: Make) -> None:
    """Bit for bit, also where it wraps; and the sum that is sent looks like noise before."""
    made = federation(1)
    answer, masks = made.keeper().answer(wanted([made.update(name) for name in NAMES[:3]]))
    assert isinstance(answer, Masks)
    assert masks is not None
    assert not np.array_equal(masked_sum(made, NAMES[:3]), clear_sum(made, NAMES[:3]))
    assert np.array_equal(masked_sum(made, NAMES[:3]) - masks, clear_sum(made, NAMES[:3]))
    assert made.public[0].has_signed(
        mask_seeds.answer("r1", answer.set_digest, (0,), mask_seeds.digest_of(masks)),
        bytes.fromhex(answer.signature),
    )


def test_a_killed_coordinator_gets_the_same_answer_from_a_killed_keeper(federation: Make) -> None:
    """The set is in the journal, which the next process reads."""
    made = federation(1)
    request = wanted([made.update(name) for name in NAMES[:3]])
    _, first = made.keeper().answer(request)
    made.close()
    _, second = made.keeper().answer(request)
    assert first is not None
    assert second is not None
    assert np.array_equal(first, second)
    journal = (made.folder / "0" / FILE).read_text()
    assert journal.count('"event":"set"') == 1  # nothing new was promised


def dishonest_requests(made: Federation) -> dict[str, tuple[MasksWanted, str]]:
    """What a coordinator asks that wants to see one update, after it got the set ann, bob, cid."""
    ann, bob, cid, dee = (made.update(name) for name in NAMES[:4])
    first = [ann, bob, cid]
    again = made.update("bob")
    return {
        "": (wanted(first), ""),
        "a set of one": (wanted([dee]), "a set of 1, and this keeper answers for 3"),
        "an overlapping set": (
            wanted([bob, cid, dee]),
            "the update of bob on version 3 belongs to another set",
        ),
        "the difference of two sets": (
            wanted([ann, bob, cid, dee]),
            "the update of ann on version 3 belongs to another set",
        ),
        "an update of another run": (
            wanted([ann, bob, cid], run="r2"),
            "ann has not signed these seeds for run r2, version 3",
        ),
        "a repeated set with one member changed": (
            wanted([ann, again, cid]),
            "the update of ann on version 3 belongs to another set",
        ),
    }


def test_a_dishonest_coordinator_is_refused_in_words_and_journaled(federation: Make) -> None:
    """Five ways to single out one update, each with its own sentence; also after a restart."""
    made = federation(1)
    requests = dishonest_requests(made)
    answering = made.keeper()
    assert isinstance(answering.answer(requests.pop("")[0])[0], Masks)
    for _ in range(2):
        for request, words in requests.values():
            answer, masks = answering.answer(request)
            assert isinstance(answer, MasksRefused)
            assert masks is None
            assert words in answer.reason
        made.close()
        answering = made.keeper()
    assert len(made.refusals()) == 10
    assert all(
        words in reason
        for reason, (_, words) in zip(made.refusals(), 2 * [*requests.values()], strict=True)
    )


def test_who_is_not_on_the_roster_or_counts_twice_helps_nobody_to_a_set(federation: Make) -> None:
    """Updates that a coordinator made up, or that it counts several times."""
    made = federation(1)
    ann, bob, eve = (made.update(name) for name in ("ann", "bob", "eve"))
    forged = made.update("cid").model_copy(update={"base_version": 4})
    answering = made.keeper()
    for members, words in (
        ([ann, bob, eve], "eve is not on this keeper's roster"),
        ([ann, bob, bob], "bob is in the set twice"),
        ([ann, bob, forged], "cid has not signed these seeds for run r1, version 4"),
    ):
        answer, _ = answering.answer(wanted(members))
        assert isinstance(answer, MasksRefused)
        assert words in answer.reason


def as_approval(answer: SetApproved) -> Approval:
    return Approval(keeper=answer.keeper, signature=answer.signature)


@pytest.mark.parametrize("pair", list(combinations(range(3), 2)))
def test_any_two_of_three_keepers_are_enough(federation: Make, pair: tuple[int, int]) -> None:
    """The third may be dead: one tells the sum of its two seeds, the other that of the third."""
    made = federation(3)
    members = [made.update(name) for name in NAMES[:3]]
    answering = {place: made.keeper(place) for place in pair}
    approvals = []
    for each in answering.values():
        approved, _ = each.answer(wanted(members, ()))
        assert isinstance(approved, SetApproved)
        approvals.append(as_approval(approved))
    first, second = pair
    others = tuple(seed for seed in range(3) if seed != first)
    total = masked_sum(made, NAMES[:3])
    for place, seeds in ((first, others), (second, (first,))):
        answer, masks = answering[place].answer(wanted(members, seeds, approvals=tuple(approvals)))
        assert isinstance(answer, Masks)
        assert masks is not None
        total -= masks
    assert np.array_equal(total, clear_sum(made, NAMES[:3]))


def test_three_keepers_are_not_told_three_different_sets(federation: Make) -> None:
    """Or the differences of the sets would be single updates: each needs another's approval."""
    made = federation(3)
    ann, bob, cid, dee = (made.update(name) for name in NAMES[:4])
    one, two = [ann, bob, cid], [bob, cid, dee]
    keepers = [made.keeper(place) for place in range(3)]
    first = keepers[0].answer(wanted(one, ()))[0]
    assert isinstance(first, SetApproved)
    for approvals in ((), (as_approval(first),)):  # none, its own, and one of another set
        for place, members in ((0, one), (1, two)):
            seeds = (2,) if place == 0 else (0,)
            answer, masks = keepers[place].answer(wanted(members, seeds, approvals=approvals))
            assert isinstance(answer, MasksRefused)
            assert answer.reason == "no other keeper has approved this set"
            assert masks is None


def test_a_coordinator_and_one_of_three_keepers_can_compute_no_update(federation: Make) -> None:
    """One seed of each update is missing; with a second keeper it is there, so this test can fail.

    What they hold: all that was sent, all that keepers answered, and the keys of those corrupted.
    """
    made = federation(3)
    members = [made.update(name) for name in NAMES[:3]]
    for corrupted in (*[(place,) for place in range(3)], *combinations(range(3), 2)):
        for member in members:
            clear, masked, _ = made.sent[member.participant, 3]
            seeds: dict[int, bytes] = {}
            for place, keeper in product(range(3), corrupted):
                with suppress(SeedsError):  # every box is tried, with every key that they have
                    seeds |= open_seeds(
                        member, made.keepers[keeper], place, 3, run="r1", words=WORDS
                    )
            tries = [
                masked - sum_of_masks(chosen, WORDS)
                for count in range(len(seeds) + 1)
                for chosen in combinations(seeds.values(), count)
            ]
            is_found = any(np.array_equal(each, clear) for each in tries)
            assert is_found == (len(corrupted) == 2)

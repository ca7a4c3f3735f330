"""Facts about the draw: who gets a version when not everybody does."""

from hypothesis import given
from hypothesis import strategies as st

from fanfold.coordinator.rounds.closing_rule import OpenRound, RoundPolicy
from fanfold.coordinator.rounds.sampling import Sampling, draw

NAMES = frozenset(f"participant-{index}" for index in range(200))
name_sets = st.frozensets(st.text("abc", min_size=1, max_size=4), max_size=30)


@given(names=name_sets, size=st.integers(0, 40), seed=st.integers(0, 99), number=st.integers(1, 99))
def test_a_draw_takes_as_many_as_asked_for_from_those_who_are_there(
    names: frozenset[str], size: int, seed: int, number: int
) -> None:
    drawn = draw(names, size=size, seed=seed, round_number=number)

    assert drawn <= names
    assert len(drawn) == min(size, len(names))
    assert drawn == draw(sorted(names, reverse=True), size=size, seed=seed, round_number=number)


@given(names=name_sets, joined=st.text("xyz", min_size=1), size=st.integers(1, 40))
def test_one_who_joins_takes_the_place_of_one_at_most(
    names: frozenset[str], joined: str, size: int
) -> None:
    before = draw(names, size=size, seed=0, round_number=1)
    after = draw(names | {joined}, size=size, seed=0, round_number=1)

    assert len(before - after) <= 1
    assert after - before <= {joined}


def test_over_many_rounds_everybody_is_drawn_equally_often() -> None:
    """A tenth of 200, 1,000 rounds: 100 times each on average, with a deviation of 9.5."""
    counts = dict.fromkeys(NAMES, 0)
    for number in range(1, 1001):
        for name in draw(NAMES, size=20, seed=7, round_number=number):
            counts[name] += 1

    assert sum(counts.values()) == 20_000
    assert min(counts.values()) > 55
    assert max(counts.values()) < 145


def test_a_sample_is_never_smaller_than_what_closes_the_round() -> None:
    assert RoundPolicy(fraction=0.1).sample_size(200) == 20
    assert RoundPolicy(fraction=0.001).sample_size(200) == 1
    assert RoundPolicy(fraction=0.1, quorum=5).sample_size(20) == 5
    assert RoundPolicy(fraction=0.1, goal=8).sample_size(20) == 8
    assert RoundPolicy(fraction=0.1, goal=8).sample_size(3) == 3


def test_everybody_is_sampled_where_the_fraction_is_one() -> None:
    sampling = Sampling(RoundPolicy(), seed=0)
    sampling.draw(NAMES, 1)

    assert sampling.members is None
    assert not sampling.is_deserted(NAMES)


def test_places_of_the_silent_are_filled_and_nobody_else_is_added() -> None:
    sampling = Sampling(RoundPolicy(fraction=0.1), seed=0)
    sampling.draw(NAMES, 1)
    first = sampling.members
    assert first is not None
    gone = set(sorted(first)[:3])

    more = sampling.widen(NAMES - gone, 1)

    assert len(more) == 3
    assert sampling.members == first | more
    assert sampling.widen(NAMES - gone, 1) == frozenset()


def test_goal_all_waits_for_the_sample_and_for_those_added_to_it() -> None:
    policy = RoundPolicy(fraction=0.5)
    present = frozenset("abcd")
    open_round = OpenRound(policy, 1, policy.expected(present, frozenset("ab")), opened_at=0.0)
    open_round.count("a", staleness=0)
    assert not open_round.is_full(present)

    open_round.expect(frozenset("c"))
    open_round.count("b", staleness=0)
    assert not open_round.is_full(present)
    assert open_round.is_full(present - {"c"})

    open_round.count("c", staleness=0)
    assert open_round.is_full(present)

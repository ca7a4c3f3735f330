"""Facts about simulated time: what must hold whatever the speeds, the rules and the seed."""

import math
import sys
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fanfold.coordinator.rounds.closing_rule import RoundPolicy
from fanfold.schemas.errors import InvalidInputError
from fanfold.simulation.event_loop import EventLoop, StuckError
from fanfold.simulation.speeds import slowness
from fanfold.simulation.timeline import Timeline


class CountedRun:
    """A run that trains nothing and writes everything down."""

    def __init__(self, rounds: int, max_staleness: int) -> None:
        self.version = 0
        self.rounds = rounds
        self.max_staleness = max_staleness
        self.refuses_everything = False
        self.held: Counter[int] = Counter({0: 0})
        self.answers: list[tuple[int, int, int | None]] = []
        """Participant, base version, staleness or None."""
        self.in_round: list[int] = []
        self.closed: list[tuple[float, float, int]] = []
        """Time, duration, updates."""
        self.receivers: list[int] = []

    @property
    def is_over(self) -> bool:
        return self.version >= self.rounds

    def publish(self, receivers: Collection[int]) -> None:
        assert self.held[self.version] > 0
        self.receivers.append(len(receivers))

    def send(self, participant: int) -> None:
        self.resend(1)

    def resend(self, num_receivers: int) -> None:
        self.receivers[-1] += num_receivers

    def hold(self, version: int) -> None:
        assert version == self.version or self.held[version] > 0, "its tensors are gone"
        self.held[version] += 1

    def let_go(self, version: int) -> None:
        assert self.held[version] > 0
        self.held[version] -= 1

    def training_seconds(self, participant: int) -> float:
        return 1.0

    def sending_seconds(self, participant: int) -> float:
        return 0.0

    def answer(self, participant: int, base_version: int) -> int | None:
        assert self.held[base_version] > 0
        staleness: int | None = self.version - base_version
        if self.refuses_everything or self.version - base_version > self.max_staleness:
            staleness = None
        else:
            self.in_round.append(participant)
        self.answers.append((participant, base_version, staleness))
        return staleness

    def close_round(self, now: float, seconds: float) -> None:
        self.closed.append((now, seconds, len(self.in_round)))
        self.in_round = []
        self.version += 1


@contextmanager
def counted_instructions() -> Iterator[list[int]]:
    """Count the bytecode instructions that are executed meanwhile."""
    count = [0]

    def trace(frame: FrameType, event: str, _argument: object) -> Any:
        frame.f_trace_opcodes = True
        frame.f_trace_lines = False
        count[0] += event == "opcode"
        return trace

    before = sys.gettrace()
    sys._getframe().f_trace_opcodes = True  # Python 3.12 looks for one when the tracing begins
    sys.settrace(trace)
    try:
        yield count
    finally:
        sys.settrace(before)


def simulated(
    speeds: list[float], policy: RoundPolicy, *, rounds: int = 12, **options: Any
) -> tuple[CountedRun, EventLoop]:
    run = CountedRun(rounds, policy.max_staleness)
    names = [f"p{index}" for index in range(len(speeds))]
    loop = EventLoop(run, names, speeds, policy=policy, **options)
    loop.run()
    return run, loop


speed_lists = st.lists(st.floats(0.1, 50), min_size=1, max_size=12)
all_policies = st.builds(
    RoundPolicy,
    goal=st.one_of(st.just("all"), st.integers(1, 15)),
    quorum=st.integers(1, 3),
    deadline_seconds=st.floats(0.5, 200),
    max_staleness=st.integers(0, 8),
    only_fresh_count=st.booleans(),
    fraction=st.sampled_from([0.2, 0.5, 1.0, 1.0]),
)


@settings(max_examples=150)
@given(
    speeds=speed_lists,
    policy=all_policies,
    dropout=st.sampled_from([0, 0.3]),
    seed=st.integers(0, 9),
)
def test_what_always_holds(
    speeds: list[float], policy: RoundPolicy, dropout: float, seed: int
) -> None:
    """Time moves on, nobody answers a version twice or an older one, each close has its quorum."""
    if len(speeds) < policy.quorum:
        return  # such a round never closes: the next test
    run, loop = simulated(speeds, policy, seed=seed, dropout=dropout, until_seconds=3000.0)

    times = [time for time, _, _ in run.closed]
    assert times == sorted(times)
    assert loop.now <= 3000.0
    assert math.isclose(sum(seconds for _, seconds, _ in run.closed), (times or [0.0])[-1])
    assert all(updates >= policy.quorum for _, _, updates in run.closed)
    for participant in range(len(speeds)):
        bases = [base for who, base, _ in run.answers if who == participant]
        assert bases == sorted(set(bases))
    assert all(
        staleness is None or 0 <= staleness <= policy.max_staleness
        for _, _, staleness in run.answers
    )
    assert sum(1 for count in run.held.values() if count) <= 2 * len(speeds) + 1
    again, _ = simulated(speeds, policy, seed=seed, dropout=dropout, until_seconds=3000.0)
    assert (again.answers, again.closed) == (run.answers, run.closed)


def test_a_round_that_nobody_can_ever_close_is_said_to_be_one() -> None:
    """The real coordinator would wait for ever: for better updates, or for more participants."""
    with pytest.raises(StuckError, match="round 1 can never close: it has 1 updates"):
        simulated([1.0], RoundPolicy(quorum=2))

    run = CountedRun(rounds=1, max_staleness=0)
    run.refuses_everything = True
    with pytest.raises(StuckError, match="were all of them refused"):
        EventLoop(run, ["p0"], [1.0], policy=RoundPolicy()).run()


@given(speeds=speed_lists)
def test_sync_waits_for_the_slowest_every_round(speeds: list[float]) -> None:
    run, _ = simulated(speeds, RoundPolicy(), rounds=3)

    assert run.closed == [
        (pytest.approx(max(speeds) * number), pytest.approx(max(speeds)), len(speeds))
        for number in (1, 2, 3)
    ]
    assert all(staleness == 0 for _, _, staleness in run.answers)


def test_goal_one_closes_a_round_with_every_update() -> None:
    """Two alike and one twice as slow, by hand: who is ready takes the newest there is by then."""
    policy = RoundPolicy(goal=1, max_staleness=20, only_fresh_count=False)
    run, _ = simulated([1.0, 1.0, 2.0], policy, rounds=6)

    assert run.answers == [(0, 0, 0), (1, 0, 1), (2, 0, 2), (0, 1, 2), (1, 1, 3), (0, 3, 2)]
    assert [time for time, _, _ in run.closed] == [1.0, 1.0, 2.0, 2.0, 2.0, 3.0]


def test_the_deadline_closes_with_the_quorum_and_not_before() -> None:
    """10 s; the slow one's update is late, refused in sync mode, and it goes on with the newest."""
    run, _ = simulated([1.0, 25.0], RoundPolicy(deadline_seconds=10.0), rounds=4)

    assert [time for time, _, _ in run.closed] == [10.0, 20.0, 30.0, 40.0]
    assert (1, 0, None) in run.answers
    assert [base for who, base, _ in run.answers if who == 1] == [0]


def test_who_drops_out_is_back_and_trains_the_version_again() -> None:
    """All trainings but one in ten fail: the round closes all the same, later."""
    run, loop = simulated([1.0], RoundPolicy(), rounds=1, dropout=0.9, seed=1)

    assert run.answers == [(0, 0, 0)]
    assert loop.now > 1.0
    assert loop.now % 2 == 1.0  # n failures cost a training and an absence each


def test_one_silent_through_a_deadline_is_not_waited_for_until_it_is_back() -> None:
    """Away for 25 s: rounds of 10 s while it may come back, then of the other's 1 s."""
    policy = RoundPolicy(deadline_seconds=10.0)
    run, _ = simulated([1.0, 25.0], policy, rounds=40, dropout=0.3, seed=1)

    durations = Counter(round(seconds, 6) for _, seconds, _ in run.closed)
    assert durations[10.0] > 3
    assert durations[1.0] > 3


def test_a_sampled_round_is_sent_to_the_sample_and_waits_for_it() -> None:
    run, _ = simulated([1.0] * 10, RoundPolicy(fraction=0.3), rounds=40)

    assert run.receivers == [3] * 40
    assert [updates for _, _, updates in run.closed] == [3] * 40
    assert len({participant for participant, _, _ in run.answers}) == 10


def test_the_work_for_an_update_does_not_grow_with_the_participants() -> None:
    """Counted, not timed: the instructions that 2,000 more updates take."""
    policy = RoundPolicy(goal=1, max_staleness=10**6, only_fresh_count=False)

    def instructions(num_participants: int, rounds: int) -> int:
        speeds = slowness("lognormal:1.0", num_participants, seed=0)
        with counted_instructions() as count:
            simulated(speeds, policy, rounds=rounds)
        return count[0]

    few, many = (
        instructions(participants, rounds=2_500) - instructions(participants, rounds=500)
        for participants in (1_000, 10_000)
    )
    assert many == pytest.approx(few, rel=0.2)  # the heap is three levels deeper: 1.11 in 3.13


def test_events_at_the_same_time_happen_in_the_order_they_were_added() -> None:
    timeline: Timeline[str] = Timeline()
    for time, event in ((2.0, "c"), (1.0, "a"), (2.0, "d"), (1.0, "b")):
        timeline.add(time, event)

    assert timeline.next_time == 1.0
    assert [timeline.take() for _ in range(4)] == [(1.0, "a"), (1.0, "b"), (2.0, "c"), (2.0, "d")]
    assert timeline.next_time == math.inf


def test_speeds_follow_from_the_seed_and_have_the_median_they_promise() -> None:
    lognormal = sorted(slowness("lognormal:1.0", 1001, seed=1))

    assert lognormal == sorted(slowness("lognormal:1.0", 1001, seed=1))
    assert lognormal[500] == pytest.approx(1.0, abs=0.15)
    assert all(2 <= factor <= 3 for factor in slowness("uniform:2:3", 50, seed=0))
    product = slowness("uniform:1:1+every:2:10", 4, seed=0)
    assert product == [1.0, 10.0, 1.0, 10.0]


@pytest.mark.parametrize(
    "spec", ["", "fast", "uniform:3:2", "uniform:0:1", "lognormal:x", "every:0:2", "every:1.5:2"]
)
def test_speeds_that_mean_nothing_are_refused_in_one_sentence(spec: str) -> None:
    with pytest.raises(InvalidInputError, match="is not understood; use constant"):
        slowness(spec, 3, seed=0)

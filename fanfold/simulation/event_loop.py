"""The life of a federation in simulated time: who trains on what, and when rounds close.

Rounds follow `fanfold.coordinator.rounds.policy`; participants behave as the real service does: a
participant that is ready takes the newest version it was sent and has not answered, never an older
one, and waits where there is none. What training and aggregation are is the run's business, so
the loop is as fast as its heap.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from fanfold.coordinator.rounds.policy import OpenRound, RoundPolicy
from fanfold.coordinator.rounds.sampling import Sampling
from fanfold.schemas.errors import FanfoldError
from fanfold.simulation.timeline import Timeline

EPOCH = 1
"""A simulated coordinator is never started again."""


class SimulatedRun(Protocol):
    """The run and its trainings. Participants are named by their index, versions by number."""

    @property
    def version(self) -> int:
        """The current version."""

    @property
    def is_over(self) -> bool:
        """Whether the run ended with the round that was closed last."""

    def publish(self, num_receivers: int) -> None:
        """A round opens: the current version goes out."""

    def resend(self, num_receivers: int) -> None:
        """The current version goes out to some more."""

    def hold(self, version: int) -> None:
        """One more will need this version."""

    def let_go(self, version: int) -> None:
        """One who held it needs it no more."""

    def training_seconds(self, participant: int) -> float:
        """How long a training takes on the median participant's machine."""

    def answer(self, participant: int, base_version: int) -> int | None:
        """Train and fold; return the staleness of the update, or None if it was refused."""

    def close_round(self, now: float, seconds: float) -> None:
        """Turn version r-1 into version r."""


@dataclass(frozen=True, slots=True)
class TrainingEnds:
    """A participant is done with a version, one way or the other."""

    participant: int
    version: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Returns:
    """A participant that dropped out is back."""

    participant: int


class StuckError(FanfoldError):
    """Raised when nothing will ever happen again in an open round."""


class EventLoop:
    """Moves a run through simulated time, the same way for the same seed."""

    def __init__(
        self,
        run: SimulatedRun,
        names: Sequence[str],
        slowness: Sequence[float],
        *,
        policy: RoundPolicy,
        seed: int = 0,
        dropout: float = 0.0,
        until_seconds: float = float("inf"),
        should_stop: Callable[[], bool] = lambda: False,
    ) -> None:
        """Everybody is present and waits for version 0.

        Args:
            run: the run and its trainings.
            names: the participants' ids.
            slowness: for each how many times longer than the median one it takes to train.
            policy: when rounds close.
            seed: of the sample and of who drops out.
            dropout: the probability, below 1, that a training ends without an update. Then the
                participant is away, silent, for as long as that training took.
            until_seconds: nothing happens after this time.
            should_stop: asked before every event.
        """
        self._run = run
        self._names = names
        self._index = {name: index for index, name in enumerate(names)}
        self._slowness = slowness
        self._policy = policy
        self._dropout = dropout
        self._until_seconds = until_seconds
        self._should_stop = should_stop
        self._random = random.Random(f"{seed}/dropout")
        self._sampling = Sampling(policy, seed)
        self._timeline: Timeline[TrainingEnds | Returns] = Timeline()
        self._present = set(names)
        self._waiting = dict.fromkeys(range(len(names)))
        self._sent: dict[int, int] = {}
        """With a sample: the newest version that somebody was sent while busy."""
        self._away_since: dict[int, float] = {}
        self._remind_at = 0.0
        self.now = 0.0
        """Simulated seconds since version 0 was published."""
        self.num_events = 0
        self._round = self._open_round()

    def run(self) -> None:
        """Let time pass until the run is over, time is up, or somebody stops it.

        Raises:
            StuckError: if a round is open and nobody will ever send an update again.
        """
        while not self._run.is_over and not self._should_stop():
            self.now = min(self._timeline.next_time, self._remind_at)
            if self.now > self._until_seconds:
                self.now = self._until_seconds
                return
            if self._timeline.next_time <= self._remind_at:
                self._happen()
            else:
                self._remind()
            if self._round.may_close(self.now, self._present):
                self._close_round()

    def _happen(self) -> None:
        self.num_events += 1
        _, event = self._timeline.take()
        match event:
            case TrainingEnds():
                if self._random.random() < self._dropout:
                    self._drop_out(event)
                else:
                    self._answer(event)
            case Returns():
                del self._away_since[event.participant]
                self._present.add(self._names[event.participant])
                self._take_newest(event.participant)
        if self._sampling.is_deserted(self._present):
            self._widen(self._present)

    # -- rounds

    def _open_round(self) -> OpenRound:
        version = self._run.version
        self._sampling.draw(self._present, version + 1)
        sample = self._sampling.members
        expected = self._policy.expected(self._present, sample)
        opened = OpenRound(self._policy, version + 1, expected, opened_at=self.now)
        self._remind_at = opened.deadline
        self._run.hold(version)
        self._run.publish(len(self._names) if sample is None else len(sample))
        if sample is None:
            waiting, self._waiting = self._waiting, {}
            for participant in waiting:
                self._begin(participant, version)
        else:
            self._send(sample)
        return opened

    def _close_round(self) -> None:
        closed, version = self._round, self._run.version
        if self.now >= closed.deadline:  # silent through it: not waited for until back
            self._present -= {
                self._names[participant]
                for participant, since in self._away_since.items()
                if since < closed.opened_at
            }
        self._run.close_round(self.now, self.now - closed.opened_at)
        if not self._run.is_over:
            self._round = self._open_round()
        self._run.let_go(version)

    def _remind(self) -> None:
        """The deadline passed without the quorum: the places of the silent are filled."""
        self._remind_at = self.now + self._policy.deadline_seconds
        silent = {
            self._names[participant]
            for participant, since in self._away_since.items()
            if since < self._round.opened_at
        }
        self._widen(set(self._names) - silent)
        if not self._timeline and not self._round.may_close(self.now, self._present):
            raise StuckError(
                f"round {self._round.number} can never close: it has {self._round.counted} updates "
                f"that count, and no participant will send another; were all of them refused?"
            )

    def _widen(self, alive: set[str]) -> None:
        more = self._sampling.widen(alive, self._round.number)
        self._round.expect(more)
        self._run.resend(len(more))
        self._send(more)

    # -- participants

    def _send(self, sample: frozenset[str]) -> None:
        """The current version reaches a sample: those who wait begin, the others keep it."""
        version = self._run.version
        for participant in sorted(self._index[name] for name in sample):
            if participant in self._waiting:
                del self._waiting[participant]
                self._begin(participant, version)
            else:
                self._run.hold(version)
                if participant in self._sent:
                    self._run.let_go(self._sent[participant])
                self._sent[participant] = version

    def _begin(self, participant: int, version: int) -> None:
        self._run.hold(version)
        seconds = self._run.training_seconds(participant) * self._slowness[participant]
        self._timeline.add(self.now + seconds, TrainingEnds(participant, version, seconds))

    def _answer(self, ended: TrainingEnds) -> None:
        name = self._names[ended.participant]
        is_current = ended.version == self._run.version
        staleness = self._run.answer(ended.participant, ended.version)
        if staleness is not None:
            self._round.count(name, staleness=staleness)
        elif is_current:
            self._round.answered.add(name)
        self._run.let_go(ended.version)
        self._take_newest(ended.participant, answered=ended.version)

    def _drop_out(self, ended: TrainingEnds) -> None:
        """No update, no goodbye; the version is still in the participant's queue."""
        participant = ended.participant
        self._away_since[participant] = self.now
        self._timeline.add(self.now + ended.seconds, Returns(participant))
        if self._sampling.members is not None and participant not in self._sent:
            self._sent[participant] = ended.version  # and keeps holding it
        else:
            self._run.let_go(ended.version)

    def _take_newest(self, participant: int, answered: int = -1) -> None:
        """Begin on the newest version there is for a participant, or wait for one."""
        if self._sampling.members is None:
            newest = self._run.version
        else:
            newest = self._sent.pop(participant, -1)
        if newest > answered:
            self._begin(participant, newest)
            if self._sampling.members is not None:
                self._run.let_go(newest)
        else:
            self._waiting[participant] = None

"""The events of a federation in simulated time: trainings, and the opening and closing of rounds.

Rounds follow `coordinator.rounds.closing_rule`, and participants behave as the real service: a
participant that is ready takes the newest version that it was sent and has not answered, never an
older one, and waits if there is none. Training and aggregation are left to a `SimulatedRun`.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from fanfold.coordinator.rounds.closing_rule import OpenRound, RoundPolicy
from fanfold.coordinator.rounds.sampling import Sampling
from fanfold.schemas.errors import FanfoldError
from fanfold.simulation.simulated_run import SimulatedRun
from fanfold.simulation.timeline import Timeline

EPOCH = 1
"""A simulated coordinator is never restarted."""


@dataclass(frozen=True, slots=True)
class TrainingEnds:
    """An event: a participant's update is there, or it drops out instead of sending one."""

    participant: int
    version: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Returns:
    """An event: a participant that dropped out returns."""

    participant: int


class StuckError(FanfoldError):
    """Raised when a round is open and no further event can close it."""


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
        """Begin with all participants present and waiting for version 0.

        Args:
            run: the run and its trainings.
            names: the participants' ids.
            slowness: for each participant, how many times longer than the median it trains.
            policy: when rounds close.
            seed: seed of the samples and of dropping out.
            dropout: the probability, below 1, that a training ends without an update. The
                participant is then absent for as long as that training took.
            until_seconds: the time at which the simulation ends.
            should_stop: called before every event; True ends the simulation.
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
        """With a sample: the newest version that each participant was sent while it trained."""
        self._away_since: dict[int, float] = {}
        self._remind_at = 0.0
        self.now = 0.0
        """Simulated seconds since version 0 was published."""
        self.num_events = 0
        self._round = self._open_round()

    def run(self) -> None:
        """Handle events until the run is over, the time is up, or it is stopped.

        Raises:
            StuckError: if a round is open and no further event can close it.
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
        if sample is not None:
            self._run.publish([self._index[name] for name in sample])
        elif self._policy.only_fresh_count:
            self._run.publish(range(len(self._names)))
        else:
            self._run.publish(self._waiting)
        if sample is None:
            waiting, self._waiting = self._waiting, {}
            for participant in waiting:
                self._begin(participant, version)
        else:
            self._send(sample)
        return opened

    def _close_round(self) -> None:
        closed, version = self._round, self._run.version
        if self.now >= closed.deadline:  # who was silent until then is waited for after its return
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
        """Send the version to others in place of the silent, after a deadline without quorum."""
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
        """Send the current version to a sample: those who wait begin, the others keep it."""
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
        seconds += self._run.sending_seconds(participant)
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
        """Let a participant drop out without a goodbye; the version stays in its queue."""
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
            elif not self._policy.only_fresh_count:
                self._run.send(participant)
        else:
            self._waiting[participant] = None

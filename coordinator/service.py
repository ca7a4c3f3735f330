"""The coordinator: owns the rounds of a federation, from the first hello to the last model."""

import math
import time
from contextlib import suppress

import structlog

from fanfold.coordinator.admission.admission import Admission
from fanfold.coordinator.aggregation.run_state import DivergedError, RunState
from fanfold.coordinator.broker.channel import CoordinatorChannel
from fanfold.coordinator.broker.encoded_version import EncodedVersion, encode_version
from fanfold.coordinator.broker.leadership import Leadership, StoppedError
from fanfold.coordinator.broker.publisher import Publisher, Sent
from fanfold.coordinator.broker.recovery import Recovery
from fanfold.coordinator.committer import Committer
from fanfold.coordinator.evaluation.evaluator import Evaluated, Evaluator
from fanfold.coordinator.evaluation.run_result import RunResult
from fanfold.coordinator.observer import Observer
from fanfold.coordinator.persistence.run_store import RunStore
from fanfold.coordinator.rounds.policy import OpenRound
from fanfold.coordinator.rounds.presence import Presence
from fanfold.coordinator.rounds.reports import Say
from fanfold.coordinator.rounds.sampling import Sampling
from fanfold.coordinator.settings import CoordinatorSettings
from fanfold.coordinator.upkeep import AllRefusedError, Upkeep
from fanfold.schemas.errors import ConnectionClosedError
from fanfold.schemas.messages import RunFinished
from fanfold.transport import Delivery, EventBuffer, Stop


class Coordinator:
    """One coordinator of one federation. All methods belong to the work thread."""

    def __init__(
        self,
        settings: CoordinatorSettings,
        *,
        run: RunState,
        store: RunStore,
        presence: Presence,
        sampling: Sampling,
        channel: CoordinatorChannel,
        leader: Leadership,
        publisher: Publisher,
        admission: Admission,
        committer: Committer,
        evaluator: Evaluator,
        event_buffer: EventBuffer,
        say: Say,
        observer: Observer,
    ) -> None:
        """Begin at the run's version 0; nothing is sent yet."""
        self._settings = settings
        self._policy = settings.policy
        self._sampling = sampling
        self._run = run
        self._store = store
        self._presence = presence
        self._channel = channel
        self._leader = leader
        self._publisher = publisher
        self._admission = admission
        self._evaluator = evaluator
        self._event_buffer = event_buffer
        self._say = say
        self._observer = observer
        self._committer = committer
        self._evaluation_is_due = False
        self._recovery = Recovery(
            channel=channel, leader=leader, publisher=publisher, presence=presence, say=say
        )
        self._upkeep = Upkeep(
            run,
            sampling=sampling,
            presence=presence,
            leader=leader,
            publisher=publisher,
            recovery=self._recovery,
            say=say,
            waits_when_all_refused=settings.when_all_refused == "wait",
        )
        self._round_began = 0.0
        self._full_since = math.inf
        self._unread: int | None = None
        """After a deadline: what came before it and is still to be read."""

    def run(self) -> RunResult:
        """Train until the last round, or until somebody stops it.

        Raises:
            SupersededError: if another coordinator took over.
            DivergedError: if a round would ruin the model; the last good one is written.
            AllRefusedError: if everybody's update of the open version was refused.
        """
        try:
            self._become_leader()
            self._await_participants()
            while not self._is_over:
                opened = self._open_round()
                if self._collect(opened):
                    self._close_round(opened)
            return self._finish()
        except StoppedError as stopped:
            return self.stop(stopped.reason)
        except DivergedError:
            with suppress(StoppedError):  # while the disk is full
                self._committer.outcome(is_finished=True)  # the last good model; nothing committed
            raise
        except AllRefusedError:
            self._committer.last_commit()
            raise
        except ConnectionClosedError:
            stop = self._event_buffer.find(Stop, 0)
            if stop is None:
                raise
            return self.stop(stop.reason)
        finally:
            self._publisher.close()
            self._evaluator.close()
            self._store.close()

    def _become_leader(self) -> None:
        """Hold the lock, load what an earlier coordinator left, and only then speak to anybody."""
        self._leader.enter()
        self._committer.take_epoch()  # before anything is read: from now on nobody else writes it
        self._evaluation_is_due = self._committer.load(fresh=not self._settings.resume)
        self._leader.open()
        self._recovery.look_if_due(time.monotonic())  # from now on, once a minute
        self._encoded_version = self._prepare()
        self._committer.record_start()
        self._committer.commit()
        self._committer.tell_start()

    def _await_participants(self) -> None:
        wanted = self._settings.min_participants
        if self._run.version > 0 or len(self._presence) >= wanted:
            return
        self._say("waiting", {"for": f"{wanted} participants", "present": len(self._presence)})
        while len(self._presence) < wanted:
            self._turn()

    @property
    def _is_over(self) -> bool:
        return self._evaluator.is_good_enough or self._run.version >= self._settings.rounds

    def _prepare(self) -> EncodedVersion:
        """Encode the current version; from now on updates of it are recognised."""
        encoded_version = encode_version(self._run, self._settings, epoch=self._store.epoch)
        self._run.announced(encoded_version.digest)
        return encoded_version

    def _open_round(self) -> OpenRound:
        """Publish the current version; the deadline counts from when it is out.

        That can take hours, while the broker is short of memory. What arrives meanwhile counts.
        """
        self._round_began = time.monotonic()
        structlog.contextvars.bind_contextvars(
            run=self._run.run_id, round=self._run.version + 1, version=self._run.version
        )
        if self._policy.fraction < 1 and self._sampling.members is None:
            self._sampling.draw(self._presence.names, self._run.version + 1)
            self._committer.commit()  # a sample outlives a crash; later ones are drawn at the close
        opened = OpenRound(
            self._policy,
            self._run.version + 1,
            expected=self._policy.expected(self._presence.names, self._sampling.members),
            opened_at=math.inf,
        )
        for contribution in self._run.contributions:  # folded before a restart
            opened.count(contribution.participant, staleness=contribution.staleness)
        self._recovery.begin(opened, self._round_began)
        self._admission.open(opened, time.monotonic())
        with self._observer.phase("publish"):
            self._publisher.publish(self._encoded_version, to=self._sampling.members)
            while not self._publisher.is_idle:
                self._turn(opened)
        opened.published(time.monotonic())
        if self._evaluation_is_due:
            self._committer.evaluate()
        return opened

    def _collect(self, opened: OpenRound) -> bool:
        """Take what comes until the round may close; False if the run ends before."""
        while not self._evaluator.is_good_enough:
            if self._is_due(opened):
                if self._publisher.is_idle:
                    return True  # nothing on its way out views the tensors that are to change now
                self._publisher.take_back()
            self._turn(opened)
        return False

    def _is_due(self, opened: OpenRound) -> bool:
        """Whether the round closes now.

        A deadline closes it only once everything is read that came before: after a long pause
        many an update is in time and still in the event buffer.
        """
        present = self._presence.names
        if not opened.may_close(time.monotonic(), present):
            self._unread = None
            return False
        if self._unread is None:
            self._unread = len(self._event_buffer)
        self._unread -= 1
        return self._unread < 0 or opened.is_full(present)

    def _close_round(self, closed: OpenRound) -> None:
        """Aggregate, commit, acknowledge; the round after announces the next version."""
        self._publisher.withdraw()  # first of all: from here on nobody can ask for it again
        self._recovery.round, self._unread = None, None
        self._upkeep.close(closed, time.monotonic())
        self._evaluation_is_due = self._evaluator.has_data and (
            closed.number % self._settings.evaluate_every == 0
            or closed.number >= self._settings.rounds
        )
        with self._observer.phase("aggregate"):
            contributions = self._run.close_round()
        self._encoded_version = self._prepare()
        self._committer.record(
            closed,
            contributions,
            seconds=time.monotonic() - self._round_began,
            awaits_evaluation=self._evaluation_is_due,
        )
        self._sampling.draw(self._presence.names, self._run.version + 1)
        self._committer.commit()
        self._committer.tell()

    def _finish(self) -> RunResult:
        """Evaluate the last version, tell everybody that the run is over, and write the models."""
        self._committer.evaluate()
        while self._evaluator.is_busy:
            self._turn()
        self._committer.commit()
        outcome = self._committer.outcome(is_finished=True)
        self._publisher.announce(RunFinished(run=self._run.run_id, version=self._run.version))
        while not self._publisher.is_idle:
            self._turn()
        return outcome

    def stop(self, reason: str) -> RunResult:
        """Commit what there is, and say how the run stands."""
        self._say("stopping", {"reason": reason})
        if self._store.is_open:
            self._committer.last_commit()
        return self._committer.outcome(is_finished=False)

    def _turn(self, opened: OpenRound | None = None) -> None:
        """Take the next event, and do what is due."""
        event = self._next_event(opened)
        self._leader.check_stop(event)
        self._recovery.attempt(lambda: self._dispatch(event))
        self._recovery.retry_if_due(time.monotonic())
        self._recovery.look_if_due(time.monotonic())
        self._committer.commit_if_due(time.monotonic())
        if opened is not None:
            self._upkeep.tend(opened, time.monotonic())

    def _next_event(self, opened: OpenRound | None) -> object | None:
        """Wait for the next event, or until something is due.

        A round that is full leaves updates to the next one while the version is on its way out, but
        no longer than a delivery may stay unacknowledged. Not so while the broker is short of room:
        what is folded and acknowledged gives it some.
        """
        now = time.monotonic()
        is_sending = not self._publisher.is_idle and not self._recovery.is_blocked
        is_full = is_sending and opened is not None and opened.is_full(self._presence.names)
        self._full_since = min(self._full_since, now) if is_full else math.inf
        full_until = self._full_since + self._settings.commit_seconds
        first = min(
            self._committer.commit_due_at,
            self._recovery.due_at,
            math.inf if opened is None else self._upkeep.due_at(opened),
            full_until if now < full_until else math.inf,
        )
        return self._event_buffer.get(
            None if first == math.inf else max(0.0, first - now),
            leave_deliveries=is_full and now < full_until,
        )

    def _dispatch(self, event: object) -> None:
        admission, now = self._admission, time.monotonic()
        match event:
            case Delivery() if self._channel.is_result(event):
                self._committer.with_room(
                    lambda: admission.settle(event, admission.updates.take(event, now), now)
                )
            case Delivery():
                admission.settle(event, admission.events.take(event, now), now)
            case Evaluated():
                self._committer.evaluated(event)
            case Sent():
                if not self._publisher.sent(event):
                    self._recovery.come_back()
            case _:
                self._recovery.notice(event)

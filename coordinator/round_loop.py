"""The coordinator: owns the rounds of a federation, from the first hello to the last model."""

from collections.abc import Iterator
from contextlib import suppress

import structlog

from fanfold.coordinator.aggregation.run_state import DivergedError
from fanfold.coordinator.broker.encoded_version import (
    EncodedVersion,
    announcement,
    encode_final,
    encode_version,
)
from fanfold.coordinator.broker.publisher import Publisher
from fanfold.coordinator.broker.recovery import Recovery
from fanfold.coordinator.committer import Committer
from fanfold.coordinator.evaluation.run_result import RunResult
from fanfold.coordinator.event_loop import EventLoop
from fanfold.coordinator.observer import Observer
from fanfold.coordinator.reporter import Reporter
from fanfold.coordinator.rounds.closing_rule import OpenRound
from fanfold.coordinator.rounds.federation_state import FederationState
from fanfold.coordinator.settings import CoordinatorSettings
from fanfold.coordinator.unmasking.unmasking import KeepersRefusedError
from fanfold.coordinator.upkeep import AllRefusedError
from fanfold.schemas.errors import ConnectionClosedError
from fanfold.schemas.events.coordinator import Stopping, Waiting
from fanfold.schemas.messages import GlobalParameters
from fanfold.transport import StoppedError


class Coordinator:
    """One coordinator of one federation. All methods belong to the work thread."""

    def __init__(
        self,
        settings: CoordinatorSettings,
        state: FederationState,
        *,
        loop: EventLoop,
        recovery: Recovery,
        publisher: Publisher,
        committer: Committer,
        reporter: Reporter,
        observer: Observer,
    ) -> None:
        """Begin at the run's version 0; nothing is sent yet."""
        self._settings = settings
        self._policy = settings.policy
        self._state = state
        self._run = state.run
        self._loop = loop
        self._recovery = recovery
        self._publisher = publisher
        self._committer = committer
        self._reporter = reporter
        self._observer = observer
        self._round_began = 0.0

    def run(self) -> RunResult:
        """Train until the last round, or until somebody stops it.

        Raises:
            SupersededError: if another coordinator took over.
            DivergedError: if a round would ruin the model; the last good one is written.
            AllRefusedError: if everybody's update of the open version was refused.
            KeepersRefusedError: if the masks of a round are not told.
        """
        try:
            self._become_leader()
            if self._loop.must_unmask:
                closed = self._open_round()
                self._reporter.evaluate_if_due()  # later rounds are told after the one before
                self._close(closed)
            self._await_participants()
            while not self._is_over:
                opened = self._publish()
                if self._collect(opened):
                    self._close(opened)
            return self._finish()
        except StoppedError as stopped:
            return self.stop(stopped.reason)
        except DivergedError:
            with suppress(StoppedError):  # while the disk is full
                self._reporter.result(is_finished=True)  # the last good model; nothing committed
            raise
        except AllRefusedError:
            self._committer.last_commit()
            raise
        except ConnectionClosedError:
            try:
                self._loop.reader.check()  # somebody who stops us closes our connections
            except StoppedError as stopped:
                return self.stop(stopped.reason)
            raise
        finally:
            self._publisher.close()
            self._reporter.close()
            self._committer.close()

    def _become_leader(self) -> None:
        """Hold the lock, load what an earlier coordinator left, and only then speak to anybody."""
        self._recovery.wait_for_lock()
        self._committer.take_epoch()  # before anything is read: from now on nobody else writes it
        self._committer.load(fresh=not self._settings.resume, now=self._loop.reader.now)
        self._loop.hold_closed_set()
        self._recovery.open()
        self._encoded_version = self._encode()
        self._reporter.record_start()
        self._committer.commit()
        self._reporter.tell_start()

    def _await_participants(self) -> None:
        wanted, presence = self._settings.min_participants, self._state.presence
        if self._run.version > 0 or len(presence) >= wanted:
            return
        self._reporter.say(Waiting(for_=f"{wanted} participants", present=len(presence)))
        while len(presence) < wanted:
            self._loop.turn()

    @property
    def _is_over(self) -> bool:
        is_last = self._run.version >= self._settings.rounds
        return is_last or self._reporter.reason_to_end is not None

    # -- one round: publish, collect until goal or deadline, aggregate, commit, announce

    def _publish(self) -> OpenRound:
        """Publish the current version; the deadline counts from when it is out.

        That can take hours, while the broker is short of memory. What arrives meanwhile counts.
        """
        opened = self._state.round or self._open_round()
        holders = self._state.holders if self._encoded_version.difference else frozenset()
        with self._observer.phase("publish"):
            self._publisher.publish(
                self._encoded_version,
                sample=self._state.sampling.members,
                to=self._state.who_waits(self._policy, self._publisher.reachable, holders),
                holders=holders,
            )
            self._reporter.tell()  # of the round before: nobody waits for that
            while not self._publisher.is_idle:
                self._loop.turn()
        opened.published(self._loop.reader.now)
        self._reporter.evaluate_if_due()
        return opened

    def _collect(self, opened: OpenRound) -> bool:
        """Validate and fold what comes until the round may close; False if the run ends before."""
        reader, presence = self._loop.reader, self._state.presence
        while self._is_wanted:
            if opened.is_due(reader.now, presence.names, num_unread=reader.num_unread):
                if self._publisher.is_idle:
                    return True  # nothing on its way out views the tensors that are to change now
                self._publisher.take_back()
            self._loop.turn()
        return False

    @property
    def _is_wanted(self) -> bool:
        """Whether the open round is still to be closed."""
        return self._reporter.reason_to_end is None

    def _close(self, closed: OpenRound) -> None:
        """Aggregate, commit, acknowledge; the round that is open then announces the version.

        Where stale updates count, those that have come already may fill the next rounds, too. All
        these rounds are committed together, and only the newest version is announced. Not so where
        versions travel as differences: each is the difference to the one before.
        """
        self._publisher.withdraw()  # first of all: from here on nobody can ask for it again
        refusal = self._unmask()
        is_alone = (
            self._policy.only_fresh_count
            or self._settings.masks
            or self._state.published is not None
        )
        unread = 0 if is_alone else self._loop.reader.num_unread
        waiting = iter(range(unread))
        self._aggregate(closed)
        while not self._is_over and (full := self._filled_by(waiting)) is not None:
            self._reporter.evaluate_if_due()
            self._aggregate(full)
        self._encoded_version = self._encode()
        self._committer.commit()
        if refusal is not None:
            self._reporter.tell()
            raise refusal

    def _unmask(self) -> KeepersRefusedError | None:
        """Learn the sum of a masked round; where keepers refuse, the round changes nothing."""
        try:
            self._loop.unmask()
        except KeepersRefusedError as refusal:
            self._run.drop_round()
            self._reporter.record_lost_set(self._run.version + 1, str(refusal))
            return refusal
        return None

    def _filled_by(self, waiting: Iterator[int]) -> OpenRound | None:
        """Open the next round and let it take what has come already, one event for each `waiting`.

        Returns:
            The round if that fills it.
        """
        opened = self._open_round()
        while not self._state.is_full:
            if not self._loop.reader.num_unread or next(waiting, None) is None:
                return None
            self._loop.turn()
        return opened

    def _aggregate(self, closed: OpenRound) -> None:
        """Turn what a round holds into the next version, and write down what it was made of."""
        traffic = self._loop.close_round(closed)
        with self._observer.phase("aggregate"):
            contributions = self._run.close_round()
        seconds = self._loop.reader.now - self._round_began
        self._reporter.record(closed, contributions, traffic, seconds=seconds)
        self._state.sampling.draw(self._state.presence.names, self._run.version + 1)
        self._committer.round_closed()
        self._reporter.keep_version()

    # -- the parts of a round

    def _encode(self) -> EncodedVersion:
        """Encode the current version; from now on updates of it are recognised."""
        run, version, border = self._run, self._run.version, self._publisher.border
        is_known = version in run.digests
        self._committer.with_room(lambda: border.prepare(run.run_id, version, is_known=is_known))
        message, epoch = self._announcement(), self._committer.epoch
        encoded = encode_version(message, self._state, self._settings, epoch=epoch, border=border)
        run.announced(encoded.digest)
        return encoded

    def _announcement(self) -> GlobalParameters:
        return announcement(self._run, self._settings)

    def _encode_final(self) -> EncodedVersion:
        border = self._publisher.border
        return encode_final(self._run, self._settings, epoch=self._committer.epoch, border=border)

    def _open_round(self) -> OpenRound:
        """Open the round after the current version, with what was folded before a restart."""
        self._round_began = self._loop.reader.now
        number, sampling = self._run.version + 1, self._state.sampling
        structlog.contextvars.bind_contextvars(
            run=self._run.run_id, round=number, version=self._run.version
        )
        if self._policy.fraction < 1 and sampling.members is None:
            sampling.draw(self._state.presence.names, number)
            self._committer.commit()  # a sample outlives a crash; later ones are drawn at the close
        opened = self._state.next_round(self._policy)
        self._loop.open_round(opened)
        return opened

    # -- the end of the run

    def _finish(self) -> RunResult:
        """Evaluate the last version, tell everybody that the run is over, and write the models."""
        self._state.round = None
        self._reporter.tell_early_end()
        self._reporter.evaluate()
        while self._reporter.is_evaluating:
            self._loop.turn()
        self._committer.commit()
        result = self._result()
        final = self._encode_final() if self._settings.publish_final else None
        self._publisher.finish(result.message(self._run, final.digest if final else None), final)
        while not self._publisher.is_idle:
            self._loop.turn()
        return result

    def _result(self) -> RunResult:
        return self._reporter.result(is_finished=True)

    def stop(self, reason: str) -> RunResult:
        """Commit what there is, and say how the run stands."""
        self._reporter.say(Stopping(reason))
        self._committer.last_commit()
        return self._reporter.result(is_finished=False)

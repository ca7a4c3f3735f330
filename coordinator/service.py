"""The coordinator: owns the rounds of a federation, from the first hello to the last model."""

import math
import time
from contextlib import suppress

import structlog

from coordinator.books import Books
from coordinator.clerk import Clerk
from coordinator.desk import Desk
from coordinator.evaluation import Evaluated, Evaluator
from coordinator.observer import Observer
from coordinator.office import Office, Stop, StoppedError
from coordinator.orders import Orders
from coordinator.outbox import Sent
from coordinator.outcome import Outcome
from coordinator.presence import Presence
from coordinator.publication import Publication, publication_of
from coordinator.reception import Reception
from coordinator.reports import Say
from coordinator.rules import OpenRound
from coordinator.sampling import Sampling
from coordinator.settings import CoordinatorSettings
from coordinator.training_run import DivergedError, TrainingRun
from coordinator.upkeep import AllRefusedError, Upkeep
from coordinator.watch import Watch
from schemas.errors import LinkClosedError
from schemas.messages import RunFinished
from transport import Delivery, Inbox


class Coordinator:
    """One coordinator of one federation; `start.serve` puts its parts together.

    All methods belong to the work thread; links and evaluation report to it through the inbox.
    """

    def __init__(
        self,
        settings: CoordinatorSettings,
        *,
        run: TrainingRun,
        books: Books,
        presence: Presence,
        sampling: Sampling,
        desk: Desk,
        office: Office,
        orders: Orders,
        reception: Reception,
        clerk: Clerk,
        evaluator: Evaluator,
        inbox: Inbox,
        say: Say,
        observer: Observer,
    ) -> None:
        """Begin at the run's version 0; nothing is sent yet."""
        self._settings = settings
        self._rules = settings.rules
        self._sampling = sampling
        self._run = run
        self._books = books
        self._presence = presence
        self._desk = desk
        self._office = office
        self._orders = orders
        self._reception = reception
        self._evaluator = evaluator
        self._inbox = inbox
        self._say = say
        self._observer = observer
        self._clerk = clerk
        self._evaluation_is_due = False
        self._watch = Watch(desk=desk, office=office, orders=orders, presence=presence, say=say)
        self._upkeep = Upkeep(
            run,
            sampling=sampling,
            presence=presence,
            office=office,
            orders=orders,
            watch=self._watch,
            say=say,
            waits_when_all_refused=settings.when_all_refused == "wait",
        )
        self._round_began = 0.0
        self._full_since = math.inf
        self._unread: int | None = None
        """After a deadline: what came before it and is still to be read."""

    def run(self) -> Outcome:
        """Train until the last round, or until somebody stops it.

        Raises:
            SupersededError: if another coordinator took over.
            DivergedError: if a round would ruin the model; the last good one is written.
            AllRefusedError: if everybody's update of the open version was refused.
        """
        try:
            self._take_office()
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
                self._clerk.outcome(is_finished=True)  # the last good model; nothing is committed
            raise
        except AllRefusedError:
            self._clerk.last_commit()
            raise
        except LinkClosedError:
            stop = self._inbox.find(Stop, 0)
            if stop is None:
                raise
            return self.stop(stop.reason)
        finally:
            self._orders.close()
            self._evaluator.close()
            self._books.close()

    def _take_office(self) -> None:
        """Hold the lock, load what an earlier coordinator left, and only then speak to anybody."""
        self._office.enter()
        self._clerk.take_epoch()  # before anything is read: from now on nobody else writes it
        self._evaluation_is_due = self._clerk.load(fresh=not self._settings.resume)
        self._office.open()
        self._watch.look_if_due(time.monotonic())  # from now on, once a minute
        self._publication = self._prepare()
        self._clerk.record_start()
        self._clerk.commit()
        self._clerk.tell_start()

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

    def _prepare(self) -> Publication:
        """Encode the current version; from now on updates of it are recognised."""
        publication = publication_of(self._run, self._settings, epoch=self._books.epoch)
        self._run.announced(publication.digest)
        return publication

    def _open_round(self) -> OpenRound:
        """Publish the current version; the deadline counts from when it is out.

        That can take hours, while the broker is short of memory. What arrives meanwhile counts.
        """
        self._round_began = time.monotonic()
        structlog.contextvars.bind_contextvars(
            run=self._run.run_id, round=self._run.version + 1, version=self._run.version
        )
        if self._rules.fraction < 1 and self._sampling.members is None:
            self._sampling.draw(self._presence.names, self._run.version + 1)
            self._clerk.commit()  # a sample must outlive a crash; later ones are drawn at the close
        opened = OpenRound(
            self._rules,
            self._run.version + 1,
            expected=self._rules.expected(self._presence.names, self._sampling.members),
            opened_at=math.inf,
        )
        for contribution in self._run.contributions:  # folded before a restart
            opened.count(contribution.participant, staleness=contribution.staleness)
        self._watch.begin(opened, self._round_began)
        self._reception.open(opened)
        with self._observer.phase("publish"):
            self._orders.publish(self._publication, to=self._sampling.members)
            while not self._orders.is_idle:
                self._turn(opened)
        opened.published(time.monotonic())
        if self._evaluation_is_due:
            self._clerk.evaluate()
        return opened

    def _collect(self, opened: OpenRound) -> bool:
        """Take what comes until the round may close; False if the run ends before."""
        while not self._evaluator.is_good_enough:
            if self._is_due(opened):
                if self._orders.is_idle:
                    return True  # nothing on its way out views the tensors that are to change now
                self._orders.take_back()
            self._turn(opened)
        return False

    def _is_due(self, opened: OpenRound) -> bool:
        """Whether the round closes now.

        A deadline closes it only once everything is read that came before: after a long pause
        many an update is in time and still in the inbox.
        """
        present = self._presence.names
        if not opened.may_close(time.monotonic(), present):
            self._unread = None
            return False
        if self._unread is None:
            self._unread = len(self._inbox)
        self._unread -= 1
        return self._unread < 0 or opened.is_full(present)

    def _close_round(self, closed: OpenRound) -> None:
        """Aggregate, commit, acknowledge; the round after announces the next version."""
        self._orders.withdraw()  # first of all: from here on nobody can ask for it again
        self._watch.round, self._unread = None, None
        self._upkeep.close(closed, time.monotonic())
        self._evaluation_is_due = self._evaluator.has_data and (
            closed.number % self._settings.evaluate_every == 0
            or closed.number >= self._settings.rounds
        )
        with self._observer.phase("aggregate"):
            contributions = self._run.close_round()
        self._publication = self._prepare()
        self._clerk.record(
            closed,
            contributions,
            seconds=time.monotonic() - self._round_began,
            awaits_evaluation=self._evaluation_is_due,
        )
        self._sampling.draw(self._presence.names, self._run.version + 1)
        self._clerk.commit()
        self._clerk.tell()

    def _finish(self) -> Outcome:
        """Evaluate the last version, tell everybody that the run is over, and write the models."""
        self._clerk.evaluate()
        while self._evaluator.is_busy:
            self._turn()
        self._clerk.commit()
        outcome = self._clerk.outcome(is_finished=True)
        self._orders.announce(RunFinished(run=self._run.run_id, version=self._run.version))
        while not self._orders.is_idle:
            self._turn()
        return outcome

    def stop(self, reason: str) -> Outcome:
        """Commit what there is, and say how the run stands."""
        self._say("stopping", {"reason": reason})
        if self._books.is_open:
            self._clerk.last_commit()
        return self._clerk.outcome(is_finished=False)

    # -- what happens meanwhile

    def _turn(self, opened: OpenRound | None = None) -> None:
        """Take the next event, and do what is due."""
        event = self._next_event(opened)
        self._office.check_stop(event)
        self._watch.attempt(lambda: self._dispatch(event))
        self._watch.retry_if_due(time.monotonic())
        self._watch.look_if_due(time.monotonic())
        self._clerk.commit_if_due(time.monotonic())
        if opened is not None:
            self._upkeep.tend(opened, time.monotonic())

    def _next_event(self, opened: OpenRound | None) -> object | None:
        """Wait for the next event, or until something is due.

        A round that is full leaves updates to the next one while the version is on its way out, but
        no longer than a delivery may stay unacknowledged. Not so while the broker is short of room:
        what is folded and acknowledged gives it some.
        """
        now = time.monotonic()
        is_sending = not self._orders.is_idle and not self._watch.is_blocked
        is_full = is_sending and opened is not None and opened.is_full(self._presence.names)
        self._full_since = min(self._full_since, now) if is_full else math.inf
        full_until = self._full_since + self._settings.commit_seconds
        first = min(
            self._clerk.commit_due_at,
            self._watch.due_at,
            math.inf if opened is None else self._upkeep.due_at(opened),
            full_until if now < full_until else math.inf,
        )
        return self._inbox.get(
            None if first == math.inf else max(0.0, first - now),
            leave_deliveries=is_full and now < full_until,
        )

    def _dispatch(self, event: object) -> None:
        match event:
            case Delivery() if self._desk.is_result(event):
                self._clerk.with_room(lambda: self._reception.take_result(event))
            case Delivery():
                self._reception.take_event(event)
            case Evaluated():
                self._clerk.evaluated(event)
            case Sent():
                if not self._orders.sent(event):
                    self._watch.come_back()
            case _:
                self._watch.notice(event)

"""The coordinator: owns the rounds of a federation, from the first hello to the last model."""

import math
import time
from collections.abc import Set as AbstractSet

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
from coordinator.training_run import TrainingRun
from schemas.errors import NOT_FOUND, ConnectionLostError, LinkClosedError, RefusedByBrokerError
from schemas.messages import RunFinished
from transport import Blocked, Connected, Delivery, Disconnected, Inbox, SubscriptionLost, Unblocked

log = structlog.get_logger()


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
        self._round: OpenRound | None = None
        self._round_began = 0.0
        self._next_reminder = math.inf
        self._is_blocked = False

    def run(self) -> Outcome:
        """Train until the last round, or until somebody stops it.

        Raises:
            SupersededError: if another coordinator took over.
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
        self._evaluation_is_due = self._clerk.load(fresh=not self._settings.resume)
        self._office.open()
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
            self._handle(self._inbox.get(None))

    # -- the round

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
        self._round, self._next_reminder = opened, math.inf
        self._reception.open(opened)
        with self._observer.phase("publish"):
            self._orders.publish(self._publication, to=self._sampling.members)
            while not self._orders.is_idle:
                self._handle(self._next_event(opened))
                self._do_duties(opened)
        opened.opened_at = time.monotonic()
        self._next_reminder = opened.deadline
        if self._evaluation_is_due:
            self._evaluator.submit(self._run.version, self._run.tensors)
        return opened

    def _collect(self, opened: OpenRound) -> bool:
        """Take what comes until the round may close; False if the run ends before."""
        while not self._evaluator.is_good_enough:
            if self._orders.is_idle and opened.may_close(time.monotonic(), self._presence.names):
                return True  # nothing on its way out views the tensors that are to change now
            self._handle(self._next_event(opened))
            self._do_duties(opened)
        return False

    def _next_event(self, opened: OpenRound) -> object | None:
        """Wait for the next event, or until something is due.

        A round that is full leaves updates to the next one while the version is on its way out.
        Not so while the broker is short of room: what is folded and acknowledged gives it some.
        """
        is_sending = not self._orders.is_idle and not self._is_blocked
        is_full = is_sending and opened.is_full(self._presence.names)
        return self._inbox.get(self._seconds_to_next_duty(), leave_deliveries=is_full)

    def _close_round(self, closed: OpenRound) -> None:
        """Aggregate, commit, acknowledge; the round after announces the next version."""
        self._round, self._next_reminder = None, math.inf
        self._office.drop_the_silent(closed)
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
        self._evaluator.submit(self._run.version, self._run.tensors)
        while self._evaluator.is_busy:
            self._handle(self._inbox.get(None))
        self._clerk.commit()
        outcome = self._clerk.outcome(is_finished=True)
        self._orders.announce(RunFinished(run=self._run.run_id, version=self._run.version))
        while not self._orders.is_idle:
            self._handle(self._inbox.get(None))
        return outcome

    def stop(self, reason: str) -> Outcome:
        """Commit what there is, and say how the run stands."""
        self._say("stopping", {"reason": reason})
        if self._books.epoch:
            self._clerk.last_commit()
        return self._clerk.outcome(is_finished=False)

    # -- what happens meanwhile

    def _handle(self, event: object) -> None:
        self._office.check_stop(event)
        try:
            try:
                self._dispatch(event)
            except RefusedByBrokerError as refusal:
                if refusal.code != NOT_FOUND:
                    raise
                log.warning("declaring everything anew", reason=refusal.text)
                self._come_back()
        except ConnectionLostError:
            log.warning("connection lost in the middle of a call")  # Connected brings us back

    def _come_back(self) -> None:
        """Receive again; what was lost with a deleted queue is sent again."""
        emptied = self._office.come_back()
        if self._round is not None:
            self._orders.send_again(sorted(emptied - self._round.answered))

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
                    self._come_back()
            case _:
                self._notice(event)

    def _notice(self, event: object) -> None:
        """What the links tell about the broker."""
        match event:
            case Connected() if self._desk.must_open_again(event.link):
                self._come_back()
            case SubscriptionLost() if self._desk.is_current(event.subscription):
                log.warning("subscription lost", queue=event.subscription.queue, reason=event.text)
                self._come_back()
                if self._round is not None and event.code == NOT_FOUND:
                    # Deleted, and what lay in it is gone; after a timeout it comes again.
                    self._orders.send_again_to_all_but(self._round.answered)
            case Disconnected():
                self._is_blocked = False
                log.warning("connection lost", link=event.link.name, reason=event.reason)
            case Blocked() | Unblocked():
                self._is_blocked = isinstance(event, Blocked)
                self._say("broker", {"accepts": isinstance(event, Unblocked)})

    def _seconds_to_next_duty(self) -> float | None:
        first = min(self._next_reminder, self._clerk.commit_due_at)
        return None if first == math.inf else max(0.0, first - time.monotonic())

    def _do_duties(self, opened: OpenRound) -> None:
        now = time.monotonic()
        self._clerk.commit_if_due(now)
        if self._sampling.is_deserted(self._presence.names):
            self._widen(opened, self._presence.names)
            self._orders.send_again_to_all_but(opened.answered)
        if now >= self._next_reminder:
            self._next_reminder = now + self._settings.deadline_seconds
            self._clerk.expire_spool()
            self._widen(opened, self._presence.heard_since(opened.opened_at))
            self._office.remind(opened)

    def _widen(self, opened: OpenRound, alive: AbstractSet[str]) -> None:
        """Draw others in the place of those in the sample who are gone."""
        more = self._sampling.widen(alive, opened.number)
        self._orders.widen(more)
        opened.expect(more)

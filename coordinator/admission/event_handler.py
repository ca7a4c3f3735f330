"""Who comes and goes, from what participants say of themselves."""

import time
from collections.abc import Callable
from typing import Any

import structlog

from fanfold.coordinator.admission.rate_limits import RateLimits
from fanfold.coordinator.rounds.presence import Presence
from fanfold.coordinator.rounds.reports import Say
from fanfold.schemas.errors import ConnectionLostError
from fanfold.schemas.messages import Goodbye, Hello, Message, Progress
from fanfold.transport import Backoff

OUT_OF_REACH_SECONDS = 120.0
"""How long nobody asks again for a queue on a node that is down."""
OUT_OF_REACH_SHARE = 3
"""For so many times as long as that took, no hello is answered: hundreds may wait for the node."""
WELCOMES = Backoff(0.5, 8.0)
"""A hello makes three calls to the broker; one who needs no answer yet says it again by itself. Who
says it again and again is answered half as often each time, until it has been quiet for a minute.
"""
QUIET_SECONDS = 60.0

log = structlog.get_logger()


class EventHandler:
    """Listens to events whose sender is believed. Belongs to the coordinator's work thread."""

    def __init__(
        self,
        presence: Presence,
        *,
        rate_limits: RateLimits,
        say: Say,
        is_known: Callable[[str], bool],
        welcome: Callable[[str], bool],
    ) -> None:
        """`is_known` says whose queue was seen to; `welcome` sees to it, and whether it can."""
        self._presence = presence
        self._rate_limits = rate_limits
        self._say = say
        self._is_known = is_known
        self._welcome = welcome
        self._next_welcome: dict[str, float] = {}
        self._welcomes: dict[str, int] = {}
        self._out_of_reach: set[str] = set()
        self._next_question = 0.0

    def listen(self, event: Message, login: str) -> bool:
        """Take what somebody says of itself; False if nobody says such a thing."""
        match event:
            case Hello():
                self._greet(event, login)
            case Progress():
                self._follow(event, login)
            case Goodbye():
                self._part(event, login)
            case _:
                return False
        return True

    def _greet(self, hello: Hello, login: str) -> None:
        now, participant = time.monotonic(), hello.participant
        is_new = participant not in self._presence
        if is_new and not self._lets_in(participant, login, now):
            return
        if not self._is_in_reach(hello, now):
            if self._presence.left(participant, hello.instance):
                self._tell("participant_out_of_reach", login, {"participant": participant})
            return
        self._presence.heard(participant, now).said(hello)
        if is_new:
            fields = {
                "participant": participant,
                "device": hello.device,
                "examples": hello.num_examples,
            }
            self._tell("participant_joined", login, fields)

    def _follow(self, progress: Progress, login: str) -> None:
        now = time.monotonic()
        is_new = progress.participant not in self._presence
        if is_new and not self._lets_in(progress.participant, login, now):
            return
        self._presence.heard(progress.participant, now).said(progress)
        if is_new:  # it said hello to an earlier coordinator, or was silent for too long
            self._tell("participant_joined", login, {"participant": progress.participant})
            self._welcome_in_turn(progress.participant, now)

    def _part(self, goodbye: Goodbye, login: str) -> None:
        if self._presence.left(goodbye.participant, goodbye.instance):
            fields = {"participant": goodbye.participant, "reason": goodbye.reason}
            self._tell("participant_left", login, fields)

    def _tell(self, event: str, login: str, fields: dict[str, Any]) -> None:
        """Tell people, unless one sender comes and goes without end."""
        if self._rate_limits.may_tell((login, fields["participant"])):
            self._say(event, fields)

    def _lets_in(self, participant: str, login: str, now: float) -> bool:
        """Whether this one may take part: one login may bring in so many, each with a queue."""
        refusal = self._rate_limits.refusal_to_join((login, participant), now)
        if refusal is not None:
            self._tell(
                "participant_refused",
                login,
                {"participant": participant, "login": login, "reason": str(refusal)},
            )
        return refusal is None

    def _is_in_reach(self, hello: Hello, now: float) -> bool:
        """Whether a participant has a queue, or has it now.

        Who consumes it has one; it is seen to all the same where this coordinator never did, for a
        binding may be gone. That costs three calls to the broker, one after the other, and after a
        lost connection hundreds say hello at once.
        """
        participant = hello.participant
        if not hello.consuming:
            return self._welcome_in_turn(participant, now)
        self._out_of_reach.discard(participant)
        if not self._is_known(participant):
            self._welcome_in_turn(participant, now)
        return True

    def _welcome_in_turn(self, participant: str, now: float) -> bool:
        """Welcome everybody, but nobody so often that others have to wait for it.

        False if its queue is out of reach: then the round goes on without it.
        """
        if now < self._next_question:
            return False  # it says hello because it has no queue to read, for all we know now
        due = self._next_welcome.get(participant, now)
        if now >= due:
            before = self._welcomes.get(participant, 0) if now < due + QUIET_SECONDS else 0
            self._welcomes[participant] = before + 1
            self._next_welcome[participant] = now + WELCOMES.seconds(before + 1)
            try:
                is_in_reach = self._welcome(participant)
            except ConnectionLostError:  # our own: it says hello again while it has no queue
                log.warning("no connection to welcome on", participant=participant)
            else:
                self._reached(participant, now, is_in_reach=is_in_reach)
        return participant not in self._out_of_reach

    def _reached(self, participant: str, now: float, *, is_in_reach: bool) -> None:
        if is_in_reach:
            self._out_of_reach.discard(participant)
        else:
            self._out_of_reach.add(participant)
            self._next_welcome[participant] = now + OUT_OF_REACH_SECONDS
            answered = time.monotonic()
            self._next_question = answered + OUT_OF_REACH_SHARE * (answered - now)

"""The names of a federation's exchanges and queues, as an operator reads them in the UI."""

import re
from dataclasses import dataclass
from typing import Self

from fanfold.schemas.errors import InvalidInputError

UPDATE_KEY = "update"
EVENT_KEY = "event"
MASKS_KEY = "masks"
REQUEST_KEY = "request"
"""On the requests exchange."""
DEAD_LETTER_KEY, OUTCOME_KEY, UPTIME_KEY = ".dead-letters", ".outcome", ".uptime"
"""On the resend exchange, which participants cannot write to; no participant has such an id."""

_IDENTIFIER = re.compile(r"[A-Za-z0-9_-]{1,64}")
_FURTHER_LOGIN = re.compile(r"([A-Za-z0-9_-]{1,64})\.([2-9]|[1-9][0-9]{1,5})")
_RUN = ".run."
"""Between the name of a federation and that of an open run, which is a federation of its own."""


def keeper_key(keeper: str) -> str:
    """Return the key of a keeper on the resend exchange; no participant has such an id."""
    return f".keeper.{keeper}"


def is_identifier(value: str) -> bool:
    """Return whether `value` is 1 to 64 letters, digits, `_` and `-`."""
    return _IDENTIFIER.fullmatch(value) is not None


def check_identifier(what: str, value: str) -> str:
    """Return `value` if it can name a federation or a participant.

    Raises:
        InvalidInputError: if it is not 1 to 64 letters, digits, `_` and `-`.
    """
    if not is_identifier(value):
        raise InvalidInputError(
            f"{what} {value!r} must be 1 to 64 letters, digits, '_' or '-'; choose another name"
        )
    return value


def owner_of(login: str) -> str:
    """Return whose broker login this is: `anna`, and after a rotation `anna.2`, are both anna's.

    No id has a dot, so no login is two people's.
    """
    further = _FURTHER_LOGIN.fullmatch(login)
    return login if further is None else further[1]


def login_number(login: str) -> int:
    """Return which login of its owner this is: 1 for `anna`, 2 for `anna.2`."""
    further = _FURTHER_LOGIN.fullmatch(login)
    return 1 if further is None else int(further[2])


@dataclass(frozen=True, slots=True)
class FederationNames:
    """All names of one federation, or of one run that a resident coordinator has opened in it.

    No exchange shares a name with a queue, because permissions cannot tell them apart.

    >>> FederationNames("clinics", run="r7").results_queue
    'clinics.run.r7.results'
    """

    federation: str
    run: str | None = None
    """Such a run has exchanges and queues of its own, beside those of the federation."""

    def __post_init__(self) -> None:
        check_identifier("the federation", self.federation)
        if self.run is not None:
            check_identifier("the run", self.run)

    @classmethod
    def of(cls, name: str) -> Self:
        """Return the names of a federation, or of `F.run.R`, a run of one.

        Raises:
            InvalidInputError: if a part of it is not 1 to 64 letters, digits, `_` and `-`.
        """
        federation, is_run, run = name.partition(_RUN)
        return cls(federation, run if is_run else None)

    @property
    def prefix(self) -> str:
        """What all of the names begin with, before a dot."""
        return self.federation if self.run is None else f"{self.federation}{_RUN}{self.run}"

    @property
    def parameters_exchange(self) -> str:
        """Fanout exchange: global parameters, to all participants."""
        return f"{self.prefix}.parameters"

    @property
    def resend_exchange(self) -> str:
        """Direct exchange, the routing key is a participant's id: a message to that participant."""
        return f"{self.prefix}.resend"

    @property
    def reports_exchange(self) -> str:
        """Direct exchange, keys `update` and `event`: the only one participants may write to."""
        return f"{self.prefix}.reports"

    def participant_queue(self, participant: str) -> str:
        """Return the name of that participant's own queue, bound to both exchanges above."""
        return f"{self.prefix}.participant.{check_identifier('the participant', participant)}"

    def slot_queue(self, slot: int) -> str:
        """Return the name of a slot's exclusive queue; its owner takes part as `slot-i`."""
        return f"{self.prefix}.slot.{slot}"

    @property
    def coordinator_queue(self) -> str:
        """Exclusive queue, the lock: its owner is the active coordinator."""
        return f"{self.prefix}.coordinator"

    @property
    def results_queue(self) -> str:
        """Queue of updates for the coordinator."""
        return f"{self.prefix}.results"

    @property
    def events_queue(self) -> str:
        """Queue of hello, progress and goodbye for the coordinator."""
        return f"{self.prefix}.events"

    @property
    def masks_queue(self) -> str:
        """Queue of the answers of keepers, for the coordinator."""
        return f"{self.prefix}.masks"

    def keeper_queue(self, keeper: str) -> str:
        """Return the name of the queue of requests to a keeper; see `PublicIdentity.name`."""
        return f"{self.prefix}.keeper.{keeper}"

    @property
    def dead_letters_queue(self) -> str:
        """Queue of malformed messages, for an operator."""
        return f"{self.prefix}.dead-letters"

    @property
    def outcome_queue(self) -> str:
        """Queue of the last RunFinished, from the end of a run to the start of a coordinator."""
        return f"{self.prefix}.outcome"

    @property
    def uptime_queue(self) -> str:
        """Queue of one transient message: it is gone when the broker was restarted."""
        return f"{self.prefix}.uptime"

    def status_queue(self, observer: str) -> str:
        """Return the beginning of the names of the exclusive queues of one `fanfold status`."""
        return f"{self.prefix}.status.{check_identifier('the observer', observer)}"

    @property
    def requests_exchange(self) -> str:
        """Direct exchange: what operators ask for; participants cannot write to it."""
        return f"{self.prefix}.requests"

    @property
    def operations_queue(self) -> str:
        """Queue of what operators ask for, for `fanfold serve`."""
        return f"{self.prefix}.operations"

    @property
    def answers_exchange(self) -> str:
        """Direct exchange: answers to operators; the routing key is in the request."""
        return f"{self.prefix}.answers"

    def operator_queue(self, login: str, key: str) -> str:
        """Return the name of an operator's exclusive queue, bound to the answers with `key`."""
        shown = re.sub(r"[^A-Za-z0-9_-]", "-", login)[:64]
        return f"{self.prefix}.operator.{shown}.{check_identifier('the key', key)}"

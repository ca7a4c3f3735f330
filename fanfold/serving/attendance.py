"""Who is there: what participants say to the service itself, and not to a run."""

import structlog

from fanfold.coordinator.admission.event_decoder import decode_event, event_header
from fanfold.coordinator.admission.sender_check import SenderCheck
from fanfold.schemas.errors import MalformedMessageError
from fanfold.schemas.messages import Goodbye, Hello, Message
from fanfold.schemas.run_messages import RunDeclined
from fanfold.serving.runs import Runs
from fanfold.transport import Delivery

log = structlog.get_logger()


class Attendance:
    """Hears participants, and notes in the runs what they decline. Belongs to one thread."""

    def __init__(self, runs: Runs, sender_check: SenderCheck, *, most: int) -> None:
        """Know nobody yet, and at most so many at a time."""
        self._runs = runs
        self._sender_check = sender_check
        self._most = most
        self._instances: dict[str, str] = {}

    def take(self, delivery: Delivery) -> str | None:
        """Take what a participant says; return its id if it has to be told which runs are open."""
        try:
            message = self._believed(delivery)
        except MalformedMessageError as error:
            log.warning("malformed message", reason=str(error), sender=delivery.user_id)
            return None
        match message:
            case Hello():
                return self._hello(message)
            case Goodbye():
                self._instances.pop(message.participant, None)
            case RunDeclined():
                self._runs.declined(message.run, message.participant, message.reason)
        return None

    def _hello(self, hello: Hello) -> str | None:
        name, before = hello.participant, self._instances.get(hello.participant)
        if before is None and len(self._instances) >= self._most:
            log.warning("too many participants; see --max-participants", participant=name)
            return None
        if before != hello.instance:
            self._runs.here_again(name)
        self._instances[name] = hello.instance
        return name if before != hello.instance or not hello.consuming else None

    def _believed(self, delivery: Delivery) -> Message | None:
        """Return a message; None if its sender is another than it says.

        Raises:
            MalformedMessageError: if it is none.
        """
        header = event_header(delivery)
        refusal = self._sender_check.refusal(delivery.user_id, header.labels.participant)
        if refusal is not None:
            log.warning("not believed", reason=refusal.detail, sender=delivery.user_id)
            return None
        return decode_event(header, delivery.body)

"""What a participant says of itself: hello, how far it is, and goodbye."""

import secrets

import structlog

from fanfold.participant.channel import ParticipantChannel
from fanfold.participant.version_receiver import Version
from fanfold.participant.worker_events import Activity
from fanfold.schemas.errors import (
    BrokerUnreachableError,
    ConnectionClosedError,
    RefusedByBrokerError,
    UnroutableError,
)
from fanfold.schemas.messages import Goodbye, Hello, Message, Progress

EVENT_SECONDS = 3.0
"""Longest wait for an event's confirmation: meanwhile nothing else is heard."""

log = structlog.get_logger()


class Membership:
    """Speaks for one start of one participant. Belongs to the service's thread.

    Every method returns whether somebody takes events now. What nobody takes is not said later: the
    next event says more than a late one.
    """

    def __init__(
        self,
        channel: ParticipantChannel,
        participant: str,
        *,
        device: str,
        num_examples: int,
        alive_seconds: float,
    ) -> None:
        """Say nothing yet."""
        self._channel = channel
        self._participant = participant
        self._device = device
        self._num_examples = num_examples
        self._alive_seconds = alive_seconds
        self._instance = secrets.token_hex(4)

    def hello(self, held: Version | None) -> bool:
        """Say who is here, and which version it holds."""
        return self._tell(
            Hello(
                participant=self._participant,
                instance=self._instance,
                version=held.number if held else None,
                device=self._device,
                num_examples=self._num_examples,
                consuming=self._channel.is_subscribed,
                alive_seconds=self._alive_seconds,
            )
        )

    def progress(self, held: Version, activity: Activity) -> bool:
        """Give a sign of life, and say how far the work is."""
        return self._tell(
            Progress(
                participant=self._participant,
                instance=self._instance,
                run=held.run,
                version=held.number,
                phase=activity.phase,
                step=activity.step,
                steps=activity.steps,
                alive_seconds=self._alive_seconds,
            )
        )

    def goodbye(self, reason: str, answered: Version | None) -> bool:
        """Say that it leaves on purpose, and what the last confirmed update answered."""
        return self._tell(
            Goodbye(
                participant=self._participant,
                instance=self._instance,
                reason=reason,
                run=answered.run if answered else None,
                version=answered.number if answered else None,
            )
        )

    def _tell(self, event: Message) -> bool:
        if not self._channel.can_tell:
            return False
        try:
            self._channel.tell(event, timeout_seconds=EVENT_SECONDS)
        except (
            RefusedByBrokerError,
            UnroutableError,
            BrokerUnreachableError,
            ConnectionClosedError,
        ) as error:
            log.debug("event not taken", kind=event.KIND, reason=str(error))
            return False
        return True

"""The events that a participant publishes: hello, progress and goodbye."""

import secrets
from collections.abc import Callable

import structlog

from fanfold.participant.channel import ParticipantChannel
from fanfold.participant.version import Version
from fanfold.participant.worker_events import Activity
from fanfold.schemas.errors import (
    BrokerUnreachableError,
    ConnectionClosedError,
    RefusedByBrokerError,
    UnroutableError,
)
from fanfold.schemas.messages import Goodbye, Hello, Message, Progress
from fanfold.schemas.run_messages import RunDeclined

EVENT_SECONDS = 3.0
"""Longest wait for an event's confirmation: meanwhile no other event is handled."""

log = structlog.get_logger()


class Membership:
    """Publishes the events of one start of one participant. Called by the service's thread.

    Every method returns whether the event could be published. An event that could not is not
    repeated later: the next one is more recent.

    Args:
        channel: where events go.
        participant: the id.
        device: what it trains on, such as `cuda:0`.
        num_examples: in its private training data.
        alive_seconds: the longest silence between two events.
        participants: of a region, returns how many are present below; None elsewhere.
    """

    def __init__(
        self,
        channel: ParticipantChannel,
        participant: str,
        *,
        device: str,
        num_examples: int,
        alive_seconds: float,
        participants: Callable[[], int | None] = lambda: None,
    ) -> None:
        self._channel = channel
        self._participant = participant
        self._device = device
        self._num_examples = num_examples
        self._alive_seconds = alive_seconds
        self._participants = participants
        self._instance = secrets.token_hex(4)

    def hello(self, held: Version | None) -> bool:
        """Publish a hello, with the version that the participant holds."""
        return self._tell(
            Hello(
                participant=self._participant,
                instance=self._instance,
                version=held.number if held else None,
                device=self._device,
                num_examples=self._num_examples,
                consuming=self._channel.is_subscribed,
                alive_seconds=self._alive_seconds,
                participants=self._participants(),
                wants_whole=held is not None and held.wants_whole,
            )
        )

    def progress(self, held: Version, activity: Activity) -> bool:
        """Publish a progress report on the work."""
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
                participants=self._participants(),
            ),
            epoch=held.epoch,
        )

    def goodbye(self, reason: str, answered: Version | None) -> bool:
        """Publish a goodbye, with the version that the last confirmed update answered."""
        return self._tell(
            Goodbye(
                participant=self._participant,
                instance=self._instance,
                reason=reason,
                run=answered.run if answered else None,
                version=answered.number if answered else None,
            )
        )

    def decline(self, run: str, reason: str) -> bool:
        """Publish that the participant takes no part in a run of a resident coordinator."""
        return self._tell(
            RunDeclined(
                participant=self._participant, instance=self._instance, run=run, reason=reason
            )
        )

    def _tell(self, event: Message, *, epoch: int | None = None) -> bool:
        if not self._channel.can_tell:
            return False
        try:
            self._channel.tell(event, timeout_seconds=EVENT_SECONDS, epoch=epoch)
        except (
            RefusedByBrokerError,
            UnroutableError,
            BrokerUnreachableError,
            ConnectionClosedError,
        ) as error:
            log.debug("event not taken", kind=event.KIND, reason=str(error))
            return False
        return True

"""Notices that participants have seen more of this run than its folder holds."""

from collections.abc import Callable

from fanfold.coordinator.admission.sender_check import SenderCheck
from fanfold.coordinator.aggregation.run_state import RunState
from fanfold.schemas.chunk_header import ChunkHeader
from fanfold.schemas.errors import MalformedMessageError
from fanfold.schemas.events.coordinator import RunIsAhead
from fanfold.schemas.events.event import Say
from fanfold.schemas.messages import Progress
from fanfold.schemas.reader_limits import ReaderLimits
from fanfold.transport import Delivery

MOST_TOLD = 16
"""Of so many participants it is told, of each once: what they say is not proved."""
ANY_SIZE = ReaderLimits(max_bytes=1 << 53)


class NewerRun:
    """Compares what participants hold with what this coordinator has: its folder may be old.

    Belongs to the coordinator's work thread.
    """

    def __init__(
        self,
        run: RunState,
        *,
        epoch: Callable[[], int],
        sender_check: SenderCheck,
        say: Say,
    ) -> None:
        """Begin with nothing heard; `epoch` returns the coordinator's own."""
        self._run = run
        self._epoch = epoch
        self._sender_check = sender_check
        self._say = say
        self._told: set[str] = set()

    def hear(self, delivery: Delivery) -> None:
        """Take the headers of a progress report, and say so if its sender is ahead of us."""
        if delivery.kind != Progress.KIND or len(self._told) >= MOST_TOLD:
            return
        try:
            header = ChunkHeader.parse(
                kind=delivery.kind,
                headers=delivery.headers,
                body_length=len(delivery.body),
                limits=ANY_SIZE,
            )
        except MalformedMessageError:
            return  # the reader of events says so
        labels, epoch = header.labels, header.epoch
        participant, version = labels.participant, labels.version
        if participant is None or version is None or labels.run != self._run.run_id:
            return
        ours = (self._epoch(), self._run.version)
        is_ahead = version > self._run.version or (epoch is not None and epoch > ours[0])
        if not is_ahead or participant in self._told:
            return
        check = self._sender_check
        if check.refusal(delivery.user_id, participant) or check.forgery(header):
            return
        self._told.add(participant)
        self._say(
            RunIsAhead(
                participant=participant,
                version=version,
                epoch=epoch,
                own_version=self._run.version,
                own_epoch=ours[0],
                is_ignored=epoch is not None and (epoch, version) > ours,
            )
        )

"""Which version to train on, from the chunks in this participant's queue.

The newest complete version is trained on; `version_order` says which one is newer. Older versions,
and chunks whose first ones were dropped, are acknowledged and dropped. Nothing here uses the
broker: it takes deliveries and returns decisions.
"""

import time
from collections.abc import Callable
from dataclasses import replace

from fanfold.participant.note_reader import NoteReader
from fanfold.participant.version import Version, rank_of
from fanfold.participant.version_order import VersionOrder
from fanfold.schemas.border import IN_CLEAR, Border
from fanfold.schemas.chunking import ChunkHeader
from fanfold.schemas.difference_message import GlobalDifference
from fanfold.schemas.errors import InvalidInputError, MalformedMessageError
from fanfold.schemas.events.event import Event, Say
from fanfold.schemas.messages import FinalModel, GlobalParameters, Message
from fanfold.schemas.reader_limits import ReaderLimits
from fanfold.transport import Delivery

VERSIONS = frozenset({GlobalParameters.KIND, GlobalDifference.KIND})
"""The kinds of messages that carry a version to train on."""
_ANY_BYTES = 1 << 53
"""Of a version that is looked at before it is too large: then it is another network's."""


def _unsaid(_event: Event) -> None:
    """Tell nobody."""


class VersionReceiver:
    """Takes deliveries in order. Belongs to the thread that calls `take`.

    Args:
        limits: nothing larger is taken.
        acknowledge: called for what is done with.
        say: called with what a person should know.
        clock: seconds that only grow.
        border: whether the coordinator is believed, and what opens its messages.
    """

    def __init__(
        self,
        limits: ReaderLimits,
        acknowledge: Callable[[Delivery], None],
        *,
        say: Say = _unsaid,
        clock: Callable[[], float] = time.monotonic,
        border: Border = IN_CLEAR,
    ) -> None:
        self._clock = clock
        self._border = border
        self._notes = NoteReader(limits, border)
        self._limits = limits
        self._limits_on_arrival = border.limits(limits)
        self._limits_of_versions = replace(self._limits_on_arrival, max_bytes=_ANY_BYTES)
        self._acknowledge = acknowledge
        self._say = say
        self._order = VersionOrder()
        self.held: Version | None = None
        """The version in training, or the last one that was answered."""
        self.incoming: Version | None = None
        """A newer version that is being received."""
        self.final: Version | None = None
        """The last model of a run that is being received, or kept."""

    @property
    def _newest(self) -> Version | None:
        return self.incoming or self.held

    def take(self, delivery: Delivery) -> Message | None:
        """Take one delivery; return its message if it is a small one that carries no tensors.

        Raises:
            MalformedMessageError: if it is no chunk of a message for a participant; it is
                acknowledged.
            InvalidInputError: if it is of a version that no network of our size could be.
        """
        try:
            header = self._header(delivery)
            if header.kind in VERSIONS:
                self._take_chunk(header, delivery)
                return None
            if header.kind == FinalModel.KIND:
                self._take_final(header, delivery)
                return None
            newest = self._newest
            known = newest.epoch if newest and newest.run == header.labels.run else 0
            note = self._notes.read(header, delivery.body, least_epoch=known)
            self._acknowledge(delivery)
        except MalformedMessageError:
            self._acknowledge(delivery)
            raise
        return note

    def start(self) -> Version | None:
        """Hold the incoming version if it is whole, and return it.

        The one that was held must be answered.
        """
        if self.incoming is None or not self.incoming.is_whole:
            return None
        self.held, self.incoming = self.incoming, None
        return self.held

    def answer(self) -> None:
        """Acknowledge the held version, whose update is confirmed, and free its bytes."""
        if self.held is not None:
            self._settle(self.held)

    def was_sent_again(self) -> bool:
        """Return whether the answered version has arrived again completely.

        The coordinator sends it again to request the answer again.
        """
        held = self.held
        if held is None or len(held.seen_again) < held.num_chunks:
            return False
        held.seen_again.clear()
        return True

    def forget_answer(self) -> None:
        """Note that the held version's update is no longer kept: take its bytes if sent again."""
        if self.held is not None and self.held.assembly is None:
            self.held = None

    def ask_for_whole(self) -> None:
        """Drop the held version, a difference that cannot be applied: take it when it comes whole.

        What is held then is the version before, of which nothing is known.
        """
        if (held := self.held) is not None:
            self._settle(held)
            before = held.number - 1
            self.held = replace(held, number=before, digest="", sent_as="", wants_whole=True)

    def final_is_kept(self) -> None:
        """Acknowledge the last model of a run."""
        if self.final is not None:
            self._settle(self.final)
            self.final = None

    def forget_run(self, run: str) -> None:
        """Forget a run that is over, and its versions."""
        if self.incoming is not None and self.incoming.run == run:
            self._settle(self.incoming)
            self.incoming = None

    def disconnected(self) -> None:
        """Forget the deliveries of a lost subscription: they come again, and are recognised."""
        for version in (self.held, self.incoming, self.final):
            if version is not None:
                version.deliveries.clear()

    def _header(self, delivery: Delivery) -> ChunkHeader:
        """Return the header of what is believed, and not too large.

        Only the coordinator writes to this queue, so what is too large is another network's.
        """
        is_version = delivery.kind in VERSIONS
        header = ChunkHeader.parse(
            kind=delivery.kind,
            headers=delivery.headers,
            body_length=len(delivery.body),
            limits=self._limits_of_versions if is_version else self._limits_on_arrival,
        )
        problem = self._border.problem(header)
        if problem is not None:
            raise MalformedMessageError(problem)
        most = self._limits_on_arrival.max_bytes
        if header.whole.num_bytes > most:
            raise InvalidInputError(
                "the coordinator trains another network than this participant's task: its version "
                f"has {header.whole.num_bytes} bytes, and this network's at most "
                f"{most}; start both with the same --task"
            )
        return header

    def _take_chunk(self, header: ChunkHeader, delivery: Delivery) -> None:
        labels = header.labels
        if labels.run is None or header.epoch is None or labels.version is None:
            raise MalformedMessageError(
                "global parameters without run, epoch and version in their headers"
            )
        place = (header.epoch, labels.version, rank_of(header))
        held, newest = self.held, self._newest
        if held is not None and header.content in {held.digest, held.sent_as}:
            self._take_held(held, header, delivery)
        elif self._is_incoming(header):
            assert self.incoming is not None  # so it is
            self._add(self.incoming, header, delivery)
        elif self._order.is_newer(labels.run, place, newest):
            if self.incoming is not None:
                self._settle(self.incoming)
            self.incoming = Version.begun(header, self._limits, now=self._clock())
            self._add(self.incoming, header, delivery)
        else:
            ignored = self._order.ignored(labels.run, place, newest)
            if ignored is not None:
                self._say(ignored)
            self._acknowledge(delivery)

    def _take_final(self, header: ChunkHeader, delivery: Delivery) -> None:
        """Take a chunk of the last model of a run; the newest one takes the place of an older."""
        if self.final is None or self.final.digest != header.content:
            self.final_is_kept()
            self.final = Version.begun(header, self._limits, now=self._clock())
        self._add(self.final, header, delivery)

    def _take_held(self, held: Version, header: ChunkHeader, delivery: Delivery) -> None:
        """Take a chunk of the held version: keep the redelivery, or note that it arrived again."""
        held.epoch = max(held.epoch, header.epoch or 0)
        if held.assembly is not None and header.content == held.sent_as:
            self._adopt(held, header, delivery)
            return
        if held.assembly is None:
            if held.num_chunks != header.whole.count:  # it came as a difference, and comes whole
                held.num_chunks = header.whole.count
                held.seen_again.clear()
            held.seen_again.add(header.index)
        self._acknowledge(delivery)

    def _add(self, incoming: Version, header: ChunkHeader, delivery: Delivery) -> None:
        assert incoming.assembly is not None  # it goes when settled
        incoming.epoch = max(incoming.epoch, header.epoch or 0)
        try:
            if incoming.assembly.add(header, delivery.body):
                incoming.assembly.unseal(self._border.opener(header))
        except MalformedMessageError:
            self._settle(incoming)
            self.incoming = None if incoming is self.incoming else self.incoming
            self.final = None if incoming is self.final else self.final
            raise
        self._adopt(incoming, header, delivery)

    def _adopt(self, version: Version, header: ChunkHeader, delivery: Delivery) -> None:
        """Keep one delivery of each chunk.

        A coordinator that was killed while it published leaves the beginning of a version in the
        queue, and its successor sends all of it: if both stayed unacknowledged, the prefetch
        window would be full before the last chunk came.
        """
        if header.index in version.deliveries:
            self._acknowledge(delivery)
        else:
            version.deliveries[header.index] = replace(delivery, body=b"")

    def _is_incoming(self, header: ChunkHeader) -> bool:
        """Whether a chunk is of the version that is being received, as it is sealed there."""
        assembly = None if self.incoming is None else self.incoming.assembly
        return assembly is not None and assembly.identity.digest == header.whole.digest

    def _settle(self, version: Version) -> None:
        for delivery in version.deliveries.values():
            self._acknowledge(delivery)
        version.deliveries.clear()
        version.assembly = None

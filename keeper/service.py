"""The keeper: a long-lived service that answers requests for masks by its rules, one by one."""

import math
from time import perf_counter
from typing import Any

import structlog
import torch

from fanfold.keeper.channel import KeeperChannel
from fanfold.keeper.observer import Observer
from fanfold.keeper.rules import Answering
from fanfold.schemas.chunking import Assembly, ChunkHeader
from fanfold.schemas.errors import (
    ACCESS_REFUSED,
    NOT_FOUND,
    ConnectionClosedError,
    ConnectionLostError,
    MalformedMessageError,
    QueueDownError,
    QueueFullError,
    RefusedByBrokerError,
    UnroutableError,
)
from fanfold.schemas.events.event import Say
from fanfold.schemas.events.keeper import SetAnswered, SetRefused
from fanfold.schemas.events.participant import WaitingForCoordinator
from fanfold.schemas.keeper_messages import Masks, MasksRefused, MasksWanted, SetApproved
from fanfold.schemas.message_codec import encode
from fanfold.schemas.reader_limits import ReaderLimits
from fanfold.schemas.tensor_codec import encode_tensors
from fanfold.sealing.masks import Words
from fanfold.transport import (
    Connected,
    Delivery,
    Disconnected,
    Ended,
    EventReader,
    StoppedError,
    SubscriptionLost,
)

TRY_SECONDS = 2.0
LIMITS = ReaderLimits(max_bytes=64 << 20, max_header_bytes=64 << 20)
"""Of a request: a hundred thousand members."""

log = structlog.get_logger()


class Keeper:
    """All methods belong to the service's one thread."""

    def __init__(
        self,
        federation: str,
        *,
        channel: KeeperChannel,
        reader: EventReader,
        answering: Answering,
        say: Say,
        observer: Observer,
    ) -> None:
        """Answer nothing yet."""
        self._federation = federation
        self._channel = channel
        self._reader = reader
        self._answering = answering
        self._say = say
        self._observer = observer
        self._try_at = 0.0
        self._is_told = False
        self._assembly: Assembly | None = None
        self._parts: list[Delivery] = []

    def run(self) -> None:
        """Answer requests until told to stop."""
        try:
            while True:
                self._take(self._reader.read(self._try_at))
                if self._reader.now >= self._try_at:
                    self._subscribe()
        except StoppedError as stopped:
            log.info("stopped", reason=stopped.reason)

    def _take(self, event: object) -> None:
        match event:
            case Delivery() if self._channel.is_current(event.subscription):
                self._receive(event)
            case Connected() | Disconnected() if self._channel.is_consuming(event.connection):
                self._again()
            case SubscriptionLost() if self._channel.is_current(event.subscription):
                self._again()
            case Ended():
                raise event.error

    def _again(self) -> None:
        """Subscribe soon; what was not acknowledged comes again."""
        self._assembly, self._parts = None, []
        self._try_at = self._reader.now

    def _subscribe(self) -> None:
        try:
            self._channel.subscribe()
        except (ConnectionLostError, QueueDownError):
            self._try_at = self._reader.now + TRY_SECONDS
        except RefusedByBrokerError as refusal:
            if refusal.code not in (NOT_FOUND, ACCESS_REFUSED):
                raise
            self._try_at = self._reader.now + TRY_SECONDS
            if not self._is_told:
                self._say(WaitingForCoordinator(self._federation))
                log.info("not subscribed yet", reason=refusal.text)
            self._is_told = True
        else:
            self._try_at, self._is_told = math.inf, False

    def _receive(self, delivery: Delivery) -> None:
        self._parts.append(delivery)
        try:
            wanted = self._assembled(delivery)
            if wanted is None:
                return
            self._answer(wanted)
        except MalformedMessageError as error:
            log.warning("malformed request", reason=str(error), sender=delivery.user_id)
        parts, self._parts, self._assembly = self._parts, [], None
        for part in parts:
            self._channel.acknowledge(part)

    def _assembled(self, delivery: Delivery) -> MasksWanted | None:
        """Return the request, once all of its parts are there.

        Raises:
            MalformedMessageError: if it is none.
        """
        if delivery.kind != MasksWanted.KIND:
            raise MalformedMessageError(f"{delivery.kind[:64]!r} is no request to a keeper")
        header = ChunkHeader.parse(
            kind=delivery.kind,
            headers=delivery.headers,
            body_length=len(delivery.body),
            limits=LIMITS,
        )
        if self._assembly is None or self._assembly.identity != header.whole:
            self._assembly = Assembly(header, LIMITS)
        if not self._assembly.add(header, delivery.body):
            return None
        wanted = self._assembly.decode().message
        assert isinstance(wanted, MasksWanted)  # of this kind
        return wanted

    def _answer(self, wanted: MasksWanted) -> None:
        began = perf_counter()
        answer, words = self._answering.answer(wanted)
        self._observer.answered(answer.KIND, perf_counter() - began)
        self._tell(wanted, answer)
        try:
            self._channel.publish(_encoded(answer, words))
        except (UnroutableError, QueueFullError, RefusedByBrokerError) as error:
            log.warning("an answer is not taken; it will be asked for again", reason=str(error))
        except ConnectionClosedError:
            self._reader.check()
            raise

    def _tell(self, wanted: MasksWanted, answer: SetApproved | Masks | MasksRefused) -> None:
        run, version, updates = wanted.run, wanted.version, len(wanted.members)
        if isinstance(answer, MasksRefused):
            self._say(SetRefused(run, version, updates, answer.reason))
        else:
            self._say(SetAnswered(run, version, updates, masks_told=isinstance(answer, Masks)))


def _encoded(answer: SetApproved | Masks | MasksRefused, words: Words | None) -> Any:
    if words is None:
        return encode(answer)
    return encode_tensors(answer, {"masks": torch.from_numpy(words.view("i4"))})

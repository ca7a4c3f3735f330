"""Asks `fanfold serve` over the broker, and waits for its answer."""

import json
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

import structlog

from fanfold.operating.settings import OperatorSettings
from fanfold.schemas.chunking import Assembly, ChunkHeader, cut
from fanfold.schemas.errors import (
    ACCESS_REFUSED,
    NOT_FOUND,
    BrokerUnreachableError,
    ConnectionClosedError,
    ConnectionLostError,
    FanfoldError,
    InvalidInputError,
    QueueFullError,
    RefusedByBrokerError,
    StoppedError,
    UnroutableError,
)
from fanfold.schemas.message_codec import encode
from fanfold.schemas.names import REQUEST_KEY, FederationNames, owner_of
from fanfold.schemas.operator_messages import Request, RequestAnswered
from fanfold.schemas.reader_limits import ReaderLimits
from fanfold.transport import (
    Connected,
    Connection,
    Delivery,
    Disconnected,
    Ended,
    EventBuffer,
    Stop,
    connection_tls,
    outgoing,
)

log = structlog.get_logger()

LIMITS = ReaderLimits(max_bytes=1 << 30)
"""Of an answer: a long history, never a whole model."""
WINDOW = 64
TRY_SECONDS = 1.0
_MAY_PASS = (ConnectionLostError, BrokerUnreachableError, UnroutableError, QueueFullError)


class NoAnswerError(FanfoldError):
    """Raised when the service does not answer in time; what was asked may still be done."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the service says to a request."""

    document: Any
    piece: memoryview
    """Of a model's file; empty where none was asked for."""


class OperatorClient:
    """One operator's line to the service. Use it as a context manager, from one thread.

    A request keeps its id for as long as it takes: where the connection is lost it is sent again,
    and the service, which may have done it meanwhile, does it once.

    Example:
        >>> with OperatorClient(settings) as client:
        ...     client.ask(lambda ids: ReadRuns(**ids, runs=[])).document
    """

    def __init__(self, settings: OperatorSettings) -> None:
        """Prepare; nothing is sent yet.

        Raises:
            InvalidInputError: if certificates cannot be read, or no broker is named.
        """
        self._settings = settings
        self._names = FederationNames(settings.federation)
        self._event_buffer = EventBuffer()
        self._connection = Connection(
            settings.broker,
            name=f"{settings.federation} operator",
            event_buffer=self._event_buffer,
            client_properties={"federation": settings.federation, "role": "operator"},
            tls=connection_tls(
                settings.broker,
                ca_file=settings.ca_file,
                certificate=settings.certificate,
                key=settings.key,
            ),
        )

    def __enter__(self) -> Self:
        self._connection.start()
        self._connection.wait_connected(self._settings.connect_seconds)
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def stop(self, reason: str) -> None:
        """Wait no longer; any thread may call this."""
        self._event_buffer.put_event(Stop(reason))
        self._connection.close()

    def ask(self, make: Callable[[dict[str, str]], Request]) -> Answer:
        """Send a request and return its answer.

        Args:
            make: makes the request, from its `request` and `answer_to`.

        Raises:
            InvalidInputError: if the service refuses it, or this login may not ask.
            NoAnswerError: if there is no answer in time.
            StoppedError: if somebody calls `stop` meanwhile.
        """
        request_id = secrets.token_hex(16)
        give_up_at = time.monotonic() + self._settings.answer_seconds
        problem = "the request lies at the broker, and is done once `fanfold serve` is there"
        absent: RefusedByBrokerError | None = None
        while time.monotonic() < give_up_at:
            try:
                answer = self._try(make, request_id, give_up_at)
            except _MAY_PASS as error:
                problem, absent = str(error), None
                self._wait()
            except ConnectionClosedError:
                raise StoppedError("stopped before the answer came") from None
            except RefusedByBrokerError as refusal:
                if refusal.code != NOT_FOUND:
                    raise InvalidInputError(self._in_words(refusal)) from None
                if absent is None:
                    log.warning("waiting for fanfold serve", reason=self._in_words(refusal))
                absent = refusal
                self._wait()
            else:
                if answer is not None:
                    return answer
                absent = None
        if absent is not None:
            raise InvalidInputError(self._in_words(absent))
        raise NoAnswerError(
            f"no answer within {self._settings.answer_seconds:g} s (--answer-seconds): {problem}"
        )

    def _wait(self) -> None:
        """Wait before the next try.

        Raises:
            StoppedError: if somebody calls `stop` meanwhile.
        """
        if self._event_buffer.find(Stop, TRY_SECONDS) is not None:
            raise StoppedError("stopped before the answer came")

    def _try(
        self, make: Callable[[dict[str, str]], Request], request_id: str, give_up_at: float
    ) -> Answer | None:
        """Ask once; None if the connection is lost meanwhile, or time is up."""
        connection, key = self._connection, secrets.token_hex(16)
        connection.wait_connected(max(0.1, give_up_at - time.monotonic()))
        queue = self._names.operator_queue(owner_of(connection.login), key)
        connection.declare_queue(queue, arguments={"x-queue-type": "classic"}, exclusive=True)
        connection.bind_queue(queue, self._names.answers_exchange, key)
        subscription = connection.subscribe(queue, prefetch=WINDOW, exclusive=True)
        (chunk,) = cut(encode(make({"request": request_id, "answer_to": key})))
        connection.publish(
            outgoing([chunk], self._names.requests_exchange, REQUEST_KEY),
            timeout_seconds=max(0.1, give_up_at - time.monotonic()),
        )
        try:
            return self._hear(subscription, request_id, give_up_at)
        finally:
            connection.unsubscribe(subscription)

    def _hear(self, subscription: object, request_id: str, give_up_at: float) -> Answer | None:
        assembly: Assembly | None = None
        while True:
            event = self._event_buffer.get(max(0.0, give_up_at - time.monotonic()))
            match event:
                case Delivery() if event.subscription is subscription:
                    self._connection.acknowledge(event)
                    assembly = _added(assembly, event)
                    if assembly.complete:
                        answer = _read(assembly, request_id)
                        if answer is not None:
                            return answer
                        assembly = None
                case None | Disconnected():
                    return None
                case Stop():
                    raise StoppedError("stopped before the answer came")
                case Ended():
                    raise event.error
                case Connected() | _:
                    pass

    def _in_words(self, refusal: RefusedByBrokerError) -> str:
        federation = self._settings.federation
        if refusal.code == NOT_FOUND:
            return (
                f"no `fanfold serve` has opened the federation {federation!r} on this broker yet; "
                "start one, or name another --federation"
            )
        if refusal.code == ACCESS_REFUSED:
            return (
                f"this login is no operator of the federation {federation!r} ({refusal.text}); "
                "make one with `fanfold enroll --operator`"
            )
        return str(refusal)


def _added(assembly: Assembly | None, delivery: Delivery) -> Assembly:
    header = ChunkHeader.parse(
        kind=delivery.kind,
        headers=delivery.headers,
        body_length=len(delivery.body),
        limits=LIMITS,
    )
    if assembly is None or assembly.identity != header.whole:
        assembly = Assembly(header, LIMITS)
    assembly.add(header, delivery.body)
    return assembly


def _read(assembly: Assembly, request_id: str) -> Answer | None:
    """Return the answer to a request; None if it is to another one.

    Raises:
        InvalidInputError: if the service refuses.
    """
    decoded = assembly.decode()
    answered = decoded.message
    if not isinstance(answered, RequestAnswered) or answered.request != request_id:
        return None
    if answered.refused is not None:
        raise InvalidInputError(answered.refused)
    parts = {entry.name: decoded.data[entry.begin : entry.end] for entry in decoded.entries}
    return Answer(json.loads(bytes(parts["document"])), parts.get("piece", memoryview(b"")))

"""Declaring, binding and deleting: one operation after another, on a channel of its own."""

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeAlias

import pika
from pika.channel import Channel
from pika.exceptions import ChannelClosedByBroker

from fanfold.schemas.errors import ConnectionLostError, TransportError
from fanfold.transport.errors import UNSENDABLE, translate

Answer: TypeAlias = Any  # pika's frame, of a type that depends on the operation
Operation: TypeAlias = Callable[[Channel, Callable[[Answer], None]], object]


class Declarations:
    """A queue of operations and the channel they run on. I/O thread only.

    A refused operation closes the channel; the next one opens another. When the connection is lost,
    all waiting operations fail, and their callers start over on the next connection.
    """

    def __init__(self) -> None:
        self._connection: pika.SelectConnection | None = None
        self._channel: Channel | None = None
        self._line: deque[tuple[Operation, Future[Answer]]] = deque()

    def connected(self, connection: pika.SelectConnection) -> None:
        """Use this connection from now on."""
        self._connection = connection

    def disconnected(self, error: TransportError) -> None:
        """Fail all waiting operations."""
        self._connection = self._channel = None
        while self._line:
            self._line.popleft()[1].set_exception(error)

    def run(self, operation: Operation, result: Future[Answer]) -> None:
        """Queue an operation; `result` gets the broker's answer or its refusal."""
        if self._connection is None:
            result.set_exception(ConnectionLostError("there is no connection to the broker"))
            return
        self._line.append((operation, result))
        if len(self._line) == 1:
            self._next()

    def _next(self) -> None:
        connection = self._connection
        if not self._line or connection is None or not connection.is_open:
            return
        operation, result = self._line[0]
        try:
            if self._channel is None:
                self._channel = connection.channel(on_open_callback=lambda _: self._next())
                self._channel.add_on_close_callback(self._on_channel_closed)
            elif self._channel.is_open:
                operation(self._channel, self._on_answer)
        except UNSENDABLE as error:
            self._channel = None  # pika would wait for an answer although nothing was sent
            self._line.popleft()
            result.set_exception(translate(error))
            self._next()

    def _on_answer(self, answer: Answer) -> None:
        _, result = self._line.popleft()
        result.set_result(answer)
        self._next()

    def _on_channel_closed(self, channel: Channel, reason: Exception) -> None:
        if channel is not self._channel:
            return
        self._channel = None
        if isinstance(reason, ChannelClosedByBroker) and self._line:
            _, result = self._line.popleft()
            result.set_exception(translate(reason))
            self._next()

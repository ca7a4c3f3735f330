"""The parts of a `Connection`: successive TCP connections, their channels and subscriptions."""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from functools import partial
from typing import Any, TypeVar

import pika

from fanfold.schemas.errors import (
    BrokerUnreachableError,
    ConnectionLostError,
    InvalidInputError,
    QueueDownError,
)
from fanfold.transport.addresses import Access, Address
from fanfold.transport.errors import describe, refused_connection
from fanfold.transport.event_buffer import EventBuffer
from fanfold.transport.events import (
    Blocked,
    Connected,
    ConnectionId,
    Disconnected,
    Ended,
    Unblocked,
)
from fanfold.transport.io.confirming_publisher import ConfirmingPublisher
from fanfold.transport.io.declarations import Declarations, Operation
from fanfold.transport.io.io_thread import IOThread
from fanfold.transport.io.pika_patches import (
    keep_pace,
    read_any_headers,
    read_in_larger_pieces,
)
from fanfold.transport.io.publish_turns import PublishTurns
from fanfold.transport.io.reconnector import Reconnector, connection_properties
from fanfold.transport.io.subscriptions import Subscriptions
from fanfold.transport.pace import Paces

_T = TypeVar("_T")
_logger = logging.getLogger(__name__)

ANSWER_SECONDS = 20.0
"""A queue whose node runs answers in milliseconds, after much disk work in seconds."""
_FAREWELL_SECONDS = 1.0  # the least time in which the broker may answer a close


class Session:
    """Owns the I/O thread and notifies the parts that run on it of connections gained and lost.

    Args:
        connection_id: the id in events.
        event_buffer: receives events and deliveries.
        access: to the brokers of one cluster.
        access_anew: returns it as it is now, asked before every attempt but the first; None if it
            stays as it is.
        heartbeat_seconds: as for `Connection`, likewise the rest.
        client_properties: in addition to name and version.
        window_bytes: how much is sent ahead of confirmations.
        max_backoff_seconds: the longest pause between attempts.
        paces: how fast bytes may come and go.

    Attributes:
        address: where the connection goes, or went last; the first one before there was one.
        heartbeats: of each address, in seconds.
        connected: whether there is a connection now.
        io: the I/O thread.
        subscriptions: the subscriptions.
        turns: what publishes.
    """

    def __init__(
        self,
        connection_id: ConnectionId,
        access: Access,
        *,
        access_anew: Callable[[], Access] | None,
        event_buffer: EventBuffer,
        heartbeat_seconds: int,
        client_properties: Mapping[str, str],
        window_bytes: int,
        max_backoff_seconds: float,
        paces: Paces,
    ) -> None:
        read_in_larger_pieces()
        read_any_headers()
        self._connection_id = connection_id
        self._event_buffer = event_buffer
        self._paces = paces
        self._access = access
        self._access_anew = access_anew
        self._is_first_attempt = True
        self.address = access.addresses[0]
        self.heartbeats = [each.heartbeat_seconds or heartbeat_seconds for each in self.addresses]
        self.connected = False
        self._changed = threading.Condition()
        self.io = IOThread(connection_id.name, self._event_buffer, ended=self._on_ended)
        self._reconnector = Reconnector(
            self.io.loop,
            self._addresses_now,
            parameters_of=lambda address: address.parameters(
                heartbeat_seconds=heartbeat_seconds,
                client_properties=connection_properties(connection_id.name)
                | dict(client_properties),
                tls=self._access.tls,
            ),
            connected=self._on_connected,
            disconnected=self._on_disconnected,
            finished=self.io.stop,
            max_backoff_seconds=max_backoff_seconds,
        )
        self._declarations = Declarations()
        self._publisher = ConfirmingPublisher()
        self.turns = PublishTurns(self.io, self._publisher, window_bytes)
        self.subscriptions = Subscriptions(
            self.io,
            self._event_buffer,
            name=connection_id.name,
            patience_seconds=min(self.heartbeats) / 3,
        )

    @property
    def addresses(self) -> tuple[Address, ...]:
        """Of the brokers, as they are now."""
        return self._access.addresses

    @property
    def blocked(self) -> bool:
        """Whether the broker has blocked publishing."""
        return self._publisher.blocked

    def start(self) -> None:
        """Start to connect."""
        self.io.start(self._reconnector)

    def wait_connected(self, timeout_seconds: float) -> None:
        """Wait for a connection; see `Connection.wait_connected`."""
        with self._changed:
            self._changed.wait_for(lambda: self.connected or self.io.ended, timeout_seconds)
            if self.connected:
                return
        self.io.check_open()
        brokers = ", ".join(map(str, self.addresses))
        raise BrokerUnreachableError(
            f"no broker answered within {timeout_seconds:g} s at {brokers}"
            f" ({self._reconnector.last_error or 'no attempt has ended yet'})"
        )

    def operate(self, operation: Operation, patience_seconds: float | None = None) -> Any:
        """Have the broker do something and return its answer."""
        answer: Future[Any] = Future()
        run = partial(self._declarations.run, operation, answer)
        return self.io.ask(run, answer, patience_seconds)

    def ask_queue(self, queue: str, ask: Callable[[float], _T]) -> _T:
        """Call `ask` for an answer that the process of the queue has to give.

        A cluster of RabbitMQ 4 does not answer for hours about a classic queue whose node is gone
        from the network. A pending request can only be cancelled by closing the connection.

        Raises:
            QueueDownError: if there is no answer; `connected` is False then until there is another
                connection.
        """
        try:
            return ask(ANSWER_SECONDS)
        except TimeoutError:
            dropped: Future[None] = Future()
            self.io.ask(partial(self._drop, dropped), dropped)
            raise QueueDownError(queue) from None

    def close(self, drain_seconds: float) -> None:
        """Close in the order that `Connection` describes."""
        deadline = time.monotonic() + drain_seconds
        if self.io.shut():
            self.io.post(self.subscriptions.cancel)
            self.turns.wait_idle(drain_seconds)
            self.io.post(self.subscriptions.flush)
            self.io.post(self._reconnector.stop)
        if not self.io.join(max(_FAREWELL_SECONDS, deadline - time.monotonic())):
            self.io.post(self._reconnector.abort)
            self.io.join()

    # The rest belongs to the I/O thread.

    def _addresses_now(self) -> tuple[Address, ...]:
        """Look whether we have another login by now; one that cannot be used changes nothing."""
        if self._access_anew is not None and not self._is_first_attempt:
            try:
                self._access = self._access_anew()
            except InvalidInputError as error:
                _logger.warning("connecting with the credentials of before: %s", error)
        self._is_first_attempt = False
        return self.addresses

    def _drop(self, dropped: Future[None]) -> None:
        self.connected = False  # at once: a caller that waits for a connection must not get this
        self._reconnector.drop()
        dropped.set_result(None)

    def _on_connected(self, connection: pika.SelectConnection, address: Address) -> None:
        connection.add_on_connection_blocked_callback(self._on_blocked)
        connection.add_on_connection_unblocked_callback(self._on_unblocked)
        self.address = address
        keep_pace(connection, self._paces)
        self._declarations.connected(connection)
        self.subscriptions.connected(connection)
        self._publisher.connected(connection, address.login)
        self._event_buffer.put_event(Connected(self._connection_id))
        with self._changed:
            self.connected = True
            self._changed.notify_all()

    def _on_disconnected(self, error: Exception) -> None:
        self.connected = False
        self._declarations.disconnected(ConnectionLostError(describe(error)))
        self.subscriptions.disconnected()
        self._publisher.disconnected(refused_connection(error))
        self._event_buffer.put_event(Disconnected(self._connection_id, describe(error)))

    def _on_blocked(self, _connection: pika.SelectConnection, frame: Any) -> None:
        self._publisher.blocked = True
        self._event_buffer.put_event(Blocked(self._connection_id, frame.method.reason))

    def _on_unblocked(self, _connection: pika.SelectConnection, _frame: object) -> None:
        self._publisher.blocked = False
        self._publisher.send()
        self._event_buffer.put_event(Unblocked(self._connection_id))

    def _on_ended(self, reason: Exception) -> None:
        self.turns.fail(reason)
        if not self.io.is_closing:
            self._event_buffer.put_event(Ended(self._connection_id, reason))
        with self._changed:
            self._changed.notify_all()

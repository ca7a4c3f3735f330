"""Connects to a broker, and again whenever the connection is lost."""

import logging
import random
import time
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version

import pika
from pika.adapters.select_connection import IOLoop

from fanfold.schemas.errors import InsecureBrokerError, LoginRefusedError
from fanfold.transport.addresses import Address
from fanfold.transport.backoff import Backoff
from fanfold.transport.errors import translate
from fanfold.transport.io.pika_patches import abort

_logger = logging.getLogger(__name__)

_FIRST_RETRY_SECONDS = 0.2
_MAX_LOGIN_TRIES = 3
_STABLE_SECONDS = 5.0  # a connection that ends before counts as a failed attempt
_HOPELESS = (LoginRefusedError, InsecureBrokerError)
"""Trying again does not help; but a broker that is still starting may answer so for a moment."""


def connection_properties(name: str) -> dict[str, str]:
    """Return what the management UI shows about the connection called `name`."""
    try:
        release = version("fanfold")
    except PackageNotFoundError:  # run from a source tree that is not installed
        release = "unknown"
    words = {"product": "Fanfold", "version": release, "information": "federated learning"}
    return {"connection_name": name, **words}  # pika's own words would name pika instead


class Reconnector:
    """Keeps one connection open to any broker of a list. I/O thread only.

    The third refused login ends it, unless the login has worked before: then the broker is probably
    being rebuilt, and it goes on trying.

    Args:
        loop: the I/O thread's.
        addresses: returns the brokers, asked before every attempt.
        parameters_of: returns what pika needs to connect to one of them.
        connected: called with an open connection and its address.
        disconnected: called with the reason when it is closed.
        finished: called when there will be no more connections: without an error after `stop`,
            with one if the login is refused.
        max_backoff_seconds: the longest pause between two rounds of attempts.
    """

    def __init__(
        self,
        loop: IOLoop,
        addresses: Callable[[], Sequence[Address]],
        *,
        parameters_of: Callable[[Address], pika.ConnectionParameters],
        connected: Callable[[pika.SelectConnection, Address], None],
        disconnected: Callable[[Exception], None],
        finished: Callable[[Exception | None], None],
        max_backoff_seconds: float,
    ) -> None:
        self._loop = loop
        self._connected = connected
        self._disconnected = disconnected
        self._finished = finished
        # A generator of its own: a draw from the module's would change a seeded training.
        self._random = random.Random()
        self._addresses_now = addresses
        self._addresses: Sequence[Address] = ()
        self._in_turn: Sequence[Address] = ()
        self._parameters_of = parameters_of
        self._backoff = Backoff(_FIRST_RETRY_SECONDS, max_backoff_seconds)
        self._connection: pika.SelectConnection | None = None
        self._stopping = False
        self._tries = 0
        self._failures = 0
        self._refusals = 0
        self._login_worked = False
        self._opened_at = 0.0
        self.last_error: Exception | None = None

    @property
    def is_stopping(self) -> bool:
        """Whether no more connections are wanted."""
        return self._stopping

    def connect(self) -> None:
        """Try the next broker of the list."""
        if self._stopping:
            return
        addresses = self._addresses_now()
        if addresses != self._addresses:
            self._addresses = addresses
            self._in_turn = self._random.sample(addresses, len(addresses))  # over the brokers
        address = self._in_turn[self._tries % len(self._in_turn)]
        self._tries += 1
        self._connection = pika.SelectConnection(
            self._parameters_of(address),
            on_open_callback=lambda connection: self._on_open(connection, address),
            on_open_error_callback=lambda _, error: self._on_open_error(address, error),
            on_close_callback=lambda _, error: self._on_closed(error),
            custom_ioloop=self._loop,
        )

    def drop(self) -> None:
        """Drop the connection without closing it in AMQP, and connect again."""
        if self._connection is not None and not self._stopping:
            abort(self._connection)

    def stop(self) -> None:
        """Close the connection, or the attempt to get one, and finish."""
        self._stopping = True
        if self._connection is None:
            self._finished(None)
        elif not self._connection.is_closing:
            self._connection.close()

    def abort(self) -> None:
        """Finish without waiting for the broker."""
        self._stopping = True
        if self._connection is None:
            self._finished(None)
        else:
            abort(self._connection)

    def _on_open(self, connection: pika.SelectConnection, address: Address) -> None:
        self._opened_at = time.monotonic()
        self._login_worked = True
        self._connected(connection, address)

    def _on_open_error(self, address: Address, error: BaseException) -> None:
        self._connection = None
        ours = translate(error)
        self.last_error = type(ours)(f"{address}: {ours}")
        if self._stopping:
            self._finished(None)
            return
        if isinstance(ours, _HOPELESS) and not self._login_worked:
            self._refusals += 1
            if self._refusals == _MAX_LOGIN_TRIES:
                self._stopping = True
                self._finished(self.last_error)
                return
        self._retry()

    def _on_closed(self, error: Exception) -> None:
        self._connection = None
        if time.monotonic() - self._opened_at >= _STABLE_SECONDS:
            self._failures = 0
        self._disconnected(error)
        if self._stopping:
            self._finished(None)
        else:
            self.last_error = translate(error)
            self._retry()

    def _retry(self) -> None:
        """Try each broker of the list once, then pause."""
        self._failures += 1
        rounds, place = divmod(self._failures - 1, len(self._in_turn))
        pause = 0.0
        if place == 0:
            pause = self._backoff.seconds(rounds + 1, self._random.random())
        _logger.info("no connection, next try in %.1f s: %s", pause, self.last_error)
        self._loop.call_later(pause, self.connect)

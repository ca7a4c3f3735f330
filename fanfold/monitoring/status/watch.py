"""Shows the status of a federation, once or again and again."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from json import dumps
from pathlib import Path

from rich.console import Console
from rich.live import Live

from fanfold.access.management import ManagementClient
from fanfold.monitoring.status import formatting
from fanfold.monitoring.status.federation_status import FederationStatus
from fanfold.monitoring.status.listener import Listener
from fanfold.monitoring.status.queues import QueueStatus, queues_of
from fanfold.monitoring.status.settings import StatusSettings
from fanfold.schemas.errors import TransportError
from fanfold.schemas.names import FederationNames
from fanfold.transport import (
    Address,
    Connection,
    EventBuffer,
    Stop,
    Tls,
    client_context,
    connection_tls,
)

LOOK_SECONDS = 2.0
ANSWER_SECONDS = 10.0
"""How long to wait for the management API; without an answer, the rest is shown."""
NO_MANAGEMENT = "queues, and who is connected but silent: name the management API with --management"

ReadQueues = Callable[[], list[QueueStatus]]


def watch(
    settings: StatusSettings,
    *,
    json: bool,
    repeat: bool,
    on_ready: Callable[[Callable[[str], None]], None],
) -> None:
    """Show a federation as soon as all is known that can be, or repeatedly until stopped.

    Raises:
        InvalidInputError: if a URL is wrong.
        LoginRefusedError: if the broker refuses the login.
        BrokerUnreachableError: if there is no broker within `connect_seconds`.
    """
    status = FederationStatus(settings.federation)
    event_buffer = EventBuffer()
    tls = _tls(settings)
    connection = Connection(
        settings.broker,
        name=f"{settings.federation} status",
        event_buffer=event_buffer,
        client_properties={"federation": settings.federation, "role": "status"},
        tls=tls,
    )
    with connection:
        read_queues = _queues_reader(settings, tls)
        connection.wait_connected(settings.connect_seconds)
        on_ready(lambda reason: event_buffer.put_event(Stop(reason)))
        listener = Listener(
            FederationNames.of(settings.federation),
            status,
            connection=connection,
            event_buffer=event_buffer,
        )
        with _shown(json=json, repeat=repeat) as shown:
            until = float("inf") if repeat else time.monotonic() + settings.listen_seconds
            while True:
                listener.look()
                _look_at_queues(status, read_queues, listener)
                is_last = not repeat and (status.is_complete or time.monotonic() >= until)
                shown(status, is_last)
                if is_last or not _listen(
                    event_buffer, listener, min(LOOK_SECONDS, until - time.monotonic())
                ):
                    return


def _tls(settings: StatusSettings) -> Tls | None:
    """Return the settings of TLS for the broker and for https; None if neither uses it."""
    files: dict[str, Path | None] = {
        "ca_file": settings.ca_file,
        "certificate": settings.certificate,
        "key": settings.key,
    }
    if settings.management and settings.management.startswith("https:"):
        connection_tls(settings.broker)  # refuses the login guest on another machine
        return Tls(client_context(**files), has_certificate=settings.certificate is not None)
    return connection_tls(settings.broker, **files)


def _queues_reader(settings: StatusSettings, tls: Tls | None) -> ReadQueues | None:
    """Return a function that asks the management API; None if none is named."""
    if not settings.management:
        return None
    broker = Address.parse(settings.broker[0])
    management = ManagementClient(
        settings.management,
        login=(broker.login, broker.password or ""),
        tls=None if tls is None else tls.context,
        insecure_http=settings.insecure_http,
        timeout_seconds=ANSWER_SECONDS,
    )
    return partial(queues_of, management, broker.vhost, settings.federation)


def _look_at_queues(status: FederationStatus, read: ReadQueues | None, listener: Listener) -> None:
    status.cannot_see = []
    status.queues = None
    if read is None:
        status.cannot_see.append(NO_MANAGEMENT)
    else:
        try:
            status.queues = read()
        except TransportError as error:
            status.cannot_see.append(f"queues: {error}")
    if listener.problem is not None:
        status.cannot_see.append(f"events and versions: {listener.problem}")


def _listen(event_buffer: EventBuffer, listener: Listener, seconds: float) -> bool:
    """Take events for so many seconds; return False if a stop was requested."""
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        event = event_buffer.get(left)
        if isinstance(event, Stop):
            return False
        listener.hear(event)
    return True


@contextmanager
def _shown(*, json: bool, repeat: bool) -> Iterator[Callable[[FederationStatus, bool], None]]:
    """Yield a function that shows a status; lines and JSON only the last, unless repeated."""
    if json:
        yield lambda status, is_last: _print(
            [dumps(status.document(time.monotonic()))] if is_last or repeat else []
        )
    elif sys.stdout.isatty() and not Console().is_dumb_terminal:
        with Live(auto_refresh=False) as live:
            yield lambda status, _: live.update(
                formatting.table(status, time.monotonic()), refresh=True
            )
    else:
        yield lambda status, is_last: _print(
            list(formatting.lines(status, time.monotonic())) if is_last or repeat else []
        )


def _print(texts: list[str]) -> None:
    sys.stdout.write("".join(f"{text}\n" for text in texts))
    sys.stdout.flush()

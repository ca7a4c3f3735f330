"""The queues of runs, asked of the management API beside everything else, while somebody looks."""

import os
import threading
import time
from collections.abc import Callable

from fanfold.access.broker_environment import LOGIN_VARIABLE
from fanfold.access.management import ManagementClient, parts_of
from fanfold.access.vhosts import vhost_of
from fanfold.monitoring.status.queues import QueueStatus, queues_of
from fanfold.page.queues import Queues, lines_of
from fanfold.schemas.errors import InvalidInputError, TransportError
from fanfold.schemas.names import FederationNames
from fanfold.serving.settings import ServeSettings
from fanfold.transport import client_context

ASK_SECONDS = 5.0
"""Between two questions: the broker's statistics are no fresher."""


def management_of(settings: ServeSettings) -> tuple[ManagementClient, str]:
    """Return a client of the management API, and the vhost of the federation.

    Raises:
        InvalidInputError: if its address is not named, or wrong, or its login has no rights.
        TransportError: if it does not answer.
    """
    url = settings.page_management
    if url is None:
        raise InvalidInputError("fanfold serve has no --page-management")
    parts = parts_of(url)
    login = (parts.username or "", parts.password or os.environ.get(LOGIN_VARIABLE, ""))
    tls = client_context(ca_file=settings.ca_file) if parts.scheme == "https" else None
    api = ManagementClient(url, login=login, tls=tls)
    return api, vhost_of(api, settings.broker)


class BrokerQueues:
    """Knows the queues of all runs. Any thread may ask; nobody waits for the answer.

    Args:
        settings: of the service.
        clock: seconds that only grow.
    """

    def __init__(
        self, settings: ServeSettings, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._lock = threading.Lock()
        self._asked_at = float("-inf")
        self._queues: list[QueueStatus] | None = None
        self._problem = ""

    def of(self, run: str) -> Queues | None:
        """Return a run's queues as they were a moment ago; None where they are not known (yet)."""
        if self._settings.page_management is None:
            return None
        with self._lock:
            if self._clock() >= self._asked_at + ASK_SECONDS:
                self._asked_at = self._clock()
                threading.Thread(target=self._ask, name="queues", daemon=True).start()
            if self._problem:
                return Queues(problem=self._problem)
            if self._queues is None:
                return None
            names = FederationNames(self._settings.federation, run=run)
            return Queues(lines_of(names, self._queues))

    def _ask(self) -> None:
        try:
            api, vhost = management_of(self._settings)
            queues, problem = queues_of(api, vhost, self._settings.federation), ""
        except (InvalidInputError, TransportError) as error:
            queues, problem = None, str(error)
        with self._lock:
            self._queues, self._problem = queues, problem
            self._asked_at = self._clock()

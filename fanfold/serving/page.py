"""The service's page: who may use it, and how what its operators ask reaches the service."""

import secrets
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from fanfold.access.enrolment import Enrolment
from fanfold.page.actions import Action
from fanfold.page.queues import Queues
from fanfold.page.serving import check_packages
from fanfold.page.settings import PageSettings
from fanfold.page.users import set_user
from fanfold.schemas.errors import InvalidInputError, TransportError
from fanfold.schemas.events.commands import PageLoginMade, PageServed
from fanfold.schemas.events.event import Say
from fanfold.schemas.names import FederationNames
from fanfold.schemas.operator_messages import ChangeRun
from fanfold.serving.broker_queues import BrokerQueues, management_of
from fanfold.serving.requests import Requests
from fanfold.serving.settings import ServeSettings
from fanfold.storage.disk import create
from fanfold.transport import EventBuffer

USERS, PASSWORD = "page-users.json", "page-password"
"""In the folder of the registry, where nobody names another file."""
OPERATOR = "operator"
ANSWER_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Asked:
    """What somebody asks at the page, on its way to the service's thread."""

    request: ChangeRun
    who: str
    answer: "Future[dict[str, Any]]" = field(default_factory=Future)

    def settle(self, requests: Requests) -> None:
        """Do it, as what comes over the broker, and answer; belongs to the service's thread.

        Raises:
            OSError: if the disk refuses.
        """
        try:
            self.answer.set_result(requests.change(self.request, self.who))
        except InvalidInputError as refusal:
            self.answer.set_exception(refusal)
        except OSError as error:
            self.answer.set_exception(error)
            raise


class PageOperations:
    """Does what operators ask at the page. Called from any thread.

    Args:
        settings: of the service.
        event_buffer: from which the service's thread takes what happens.
    """

    def __init__(self, settings: ServeSettings, event_buffer: EventBuffer) -> None:
        self._settings = settings
        self._event_buffer = event_buffer
        self._queues = BrokerQueues(settings)

    def do(self, run: str, action: Action, *, who: str) -> None:
        """Have the service do it.

        Raises:
            InvalidInputError: if that is refused, or not done within half a minute.
        """
        request = ChangeRun(request=secrets.token_hex(8), answer_to="page", run=run, change=action)
        asked = Asked(request, who=f"{who} at the page")
        self._event_buffer.put_event(asked)
        try:
            asked.answer.result(ANSWER_SECONDS)
        except TimeoutError:
            raise InvalidInputError(
                "the service has not answered yet: it waits for its broker or its disk, and does "
                "it then; look at the state of the run"
            ) from None

    def revoke(self, participant: str, *, who: str) -> None:
        """Remove a login and its queues at the broker.

        Raises:
            InvalidInputError: if the management API is not named, or refuses.
        """
        del who  # the broker's own log names the administrator
        if self._settings.page_management is None:
            raise InvalidInputError(
                f"fanfold serve has no --page-management; on a machine with the administrator's "
                f"login use: fanfold revoke {participant} --management URL"
            )
        try:
            api, vhost = management_of(self._settings)
            names = FederationNames(self._settings.federation)
            Enrolment(api, names, vhost=vhost).revoke(participant)
        except TransportError as error:
            raise InvalidInputError(f"the management API refuses: {error}") from None

    def queues(self, run: str) -> Queues | None:
        """Return what of a run lies at the broker."""
        return self._queues.of(run)


@contextmanager
def page_of(settings: ServeSettings, event_buffer: EventBuffer, *, say: Say) -> Iterator[None]:
    """Serve the page beside the service, if a port is named.

    Raises:
        InvalidInputError: if the address or the users cannot be used, or packages are missing.
    """
    if settings.page_port is None:
        yield
        return
    check_packages()
    from fanfold.page.server import PageServer  # noqa: PLC0415 - its packages are an extra

    users = settings.page_users or settings.out / USERS
    password_file = settings.out / PASSWORD
    if not users.exists() and settings.page_users is None:
        password = secrets.token_urlsafe(15)
        password_file.unlink(missing_ok=True)
        create(password_file, f"{password}\n".encode())
        set_user(users, OPERATOR, "operator", password)
    page = PageSettings(
        port=settings.page_port,
        host=settings.page_host,
        users=users,
        certificate=settings.page_certificate,
        key=settings.page_key,
    )
    runs = settings.out / "runs"
    runs.mkdir(exist_ok=True)
    operations = PageOperations(settings, event_buffer)
    with PageServer(runs, page, operations=operations, prefix="page-") as server:
        say(PageServed(server.url))
        if settings.page_users is None and password_file.exists():
            say(PageLoginMade(OPERATOR, str(password_file)))
        yield

"""A federation's queues, from the broker's management API."""

from collections.abc import Iterator
from dataclasses import dataclass

from fanfold.access.management import ManagementClient
from fanfold.schemas.errors import BrokerUnreachableError

PAGE_SIZE = 500


@dataclass(frozen=True, slots=True)
class QueueStatus:
    """One queue, as of the broker's last statistics: up to 5 s ago by default."""

    name: str
    ready: int
    unacknowledged: int
    consumers: int
    num_bytes: int


def queues_of(management: ManagementClient, vhost: str, federation: str) -> list[QueueStatus]:
    """Return the federation's queues by name.

    Raises:
        BrokerUnreachableError: if the API does not answer, or has no such vhost.
        LoginRefusedError: if it refuses this login.
    """
    return sorted(_queues(management, vhost, federation), key=lambda queue: queue.name)


def _queues(management: ManagementClient, vhost: str, federation: str) -> Iterator[QueueStatus]:
    page = num_pages = 1
    while page <= num_pages:
        answer = management.get(
            "queues",
            vhost,
            page=page,
            page_size=PAGE_SIZE,
            name=f"^{federation}[.]",
            use_regex="true",
            pagination="true",
        )
        if answer is None:
            raise BrokerUnreachableError(
                f"the management API at {management.url} knows no vhost {vhost!r}"
            )
        num_pages, page = answer["page_count"], page + 1
        for queue in answer["items"]:
            yield QueueStatus(
                name=queue["name"],
                ready=queue.get("messages_ready", 0),
                unacknowledged=queue.get("messages_unacknowledged", 0),
                consumers=queue.get("consumers", 0),
                num_bytes=queue.get("message_bytes", 0),
            )

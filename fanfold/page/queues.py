"""What of a run lies at the broker, in few lines: queues by what they are for. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass

from fanfold.monitoring.status.queues import QueueStatus
from fanfold.schemas.names import FederationNames

MOST_NAMED = 3


@dataclass(frozen=True, slots=True)
class QueueLine:
    """One queue, or all of one kind."""

    what: str
    ready: int
    """Messages that nobody has taken yet."""
    unacknowledged: int
    """Messages that somebody works on."""
    num_bytes: int
    note: str = ""
    """What is to be looked at; empty if all is well."""


@dataclass(frozen=True, slots=True)
class Queues:
    """The queues of a run, as of the broker's last statistics."""

    lines: tuple[QueueLine, ...] = ()
    problem: str = ""
    """Why they are not known."""


def lines_of(names: FederationNames, queues: Iterable[QueueStatus]) -> tuple[QueueLine, ...]:
    """Return a line for updates, reports and dead letters, and one for all participants' queues."""
    own = names.participant_queue("x")[:-1]
    by_name = {each.name: each for each in queues}
    lines = []
    for name, what, unwanted in (
        (names.results_queue, "updates for the coordinator", ""),
        (names.events_queue, "reports for the coordinator", ""),
        (names.dead_letters_queue, "malformed messages", "somebody should read them"),
    ):
        if name in by_name:
            queue = by_name[name]
            note = unwanted if queue.ready else ""
            if not queue.consumers and queue.ready and not note:
                note = "nobody takes them"
            lines.append(QueueLine(what, queue.ready, queue.unacknowledged, queue.num_bytes, note))
    theirs = [each for name, each in sorted(by_name.items()) if name.startswith(own)]
    if theirs:
        absent = [each.name.removeprefix(own) for each in theirs if not each.consumers]
        more = f" and {len(absent) - MOST_NAMED} more" if len(absent) > MOST_NAMED else ""
        lines.append(
            QueueLine(
                f"versions for {len(theirs)} participants",
                sum(each.ready for each in theirs),
                sum(each.unacknowledged for each in theirs),
                sum(each.num_bytes for each in theirs),
                f"nobody takes those of {', '.join(absent[:MOST_NAMED])}{more}" if absent else "",
            )
        )
    return tuple(lines)

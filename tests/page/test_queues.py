"""Facts about the few lines in which a page tells what lies at the broker."""

from fanfold.monitoring.status.queues import QueueStatus
from fanfold.page.queues import QueueLine, Queues, lines_of
from fanfold.page.templates import rendered
from fanfold.schemas.names import FederationNames

NAMES = FederationNames("scans", run="first")


def queue(name: str, ready: int, unacknowledged: int = 0, consumers: int = 1) -> QueueStatus:
    return QueueStatus(name, ready, unacknowledged, consumers, num_bytes=1000 * ready)


def test_participants_have_one_line_and_other_runs_none() -> None:
    """Somebody whose queue nobody consumes is named."""
    found = [
        queue(NAMES.results_queue, 3, 2),
        queue(NAMES.events_queue, 0),
        queue(NAMES.participant_queue("bergen"), 1, 1),
        queue(NAMES.participant_queue("aarhus"), 1, consumers=0),
        queue(FederationNames("scans", run="first2").results_queue, 9),
        queue(FederationNames("scans").results_queue, 9),
    ]
    assert lines_of(NAMES, found) == (
        QueueLine("updates for the coordinator", 3, 2, 3000),
        QueueLine("reports for the coordinator", 0, 0, 0),
        QueueLine("versions for 2 participants", 2, 1, 2000, "nobody takes those of aarhus"),
    )


def test_what_should_not_lie_there_is_said() -> None:
    found = [
        queue(NAMES.results_queue, 3, consumers=0),
        queue(NAMES.dead_letters_queue, 2, consumers=0),
    ]
    assert [each.note for each in lines_of(NAMES, found)] == [
        "nobody takes them",
        "somebody should read them",
    ]
    html = rendered("queues.html.jinja", queues=Queues(lines_of(NAMES, found)))
    assert "somebody should read them" in html
    assert "3.0 kB" in html or "3 kB" in html
    assert rendered("queues.html.jinja", queues=None).strip() == ""

"""Facts about `fanfold status`: what it sees of a live federation, and what it says it cannot."""

import io
import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from nodes import BrokerNode
from rich.console import Console

from fanfold.access.management import ManagementClient
from fanfold.coordinator.assembly import serve as serve_coordinator
from fanfold.coordinator.settings import CoordinatorSettings
from fanfold.monitoring.status import formatting
from fanfold.monitoring.status.federation_status import FederationStatus
from fanfold.monitoring.status.queues import QueueStatus, queues_of
from fanfold.monitoring.status.settings import StatusSettings
from fanfold.monitoring.status.watch import watch
from fanfold.participant.assembly import serve as serve_participant
from fanfold.participant.settings import ParticipantSettings
from fanfold.schemas.chunk_header import Labels
from fanfold.schemas.errors import BrokerUnreachableError, InvalidInputError
from fanfold.schemas.messages import Goodbye, Hello, Progress, RunFinished
from tests.simulation.test_simulation import TASK, started


@contextmanager
def federation_of_two(url: str, name: str, out: Path) -> Iterator[None]:
    """Two participants who have answered every version, while the coordinator waits for a third."""
    common: dict[str, Any] = {"federation": name, "broker": (url,), "device": "cpu"}
    with ThreadPoolExecutor(max_workers=3) as threads:
        stops = []
        for index in range(2):
            settings = ParticipantSettings(
                **common,
                id=f"p{index}",
                task=TASK,
                partition_index=index,
                num_partitions=2,
                progress_seconds=0.3,
            )
            stops.append(started(threads, serve_participant, settings)[1])
        coordinator = CoordinatorSettings(
            **common, out=out, task=TASK, rounds=100_000, quorum=3, goal=3, min_participants=2
        )
        stops.append(started(threads, serve_coordinator, coordinator)[1])
        try:
            yield
        finally:
            for stop in stops:
                stop("the test is over")


def looked_at(
    url: str, name: str, capsys: pytest.CaptureFixture[str], **options: Any
) -> tuple[dict[str, Any], str]:
    """Return the status as a document, and everything that was printed."""
    settings = StatusSettings(federation=name, broker=(url,), **options)
    watch(settings, json=True, repeat=False, on_ready=lambda _stop: None)
    out = capsys.readouterr().out
    documents = [line for line in out.splitlines() if line.startswith("{")]  # services log here too
    document: dict[str, Any] = json.loads(documents[-1])
    return document, out


def test_everybody_and_every_queue_is_seen_through_the_management_api(
    broker_node: BrokerNode,
    broker_url: str,
    federation: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    management = broker_node.management_url
    with federation_of_two(broker_url, federation, tmp_path):
        document: dict[str, Any] = {}
        deadline = time.monotonic() + 40  # the broker's statistics are up to 5 s old
        while time.monotonic() < deadline:
            document, out = looked_at(
                broker_url, federation, capsys, management=management, listen_seconds=2
            )
            rows = document["participants"]
            if len(rows) == 2 and all(row["here"] and row["doing"] for row in rows):
                break

    assert document["coordinator"] is True
    assert document["round"] == document["version"] + 1 == 1
    assert [row["participant"] for row in rows] == ["p0", "p1"]
    assert {row["doing"] for row in rows} == {"waiting"}
    assert {row["version"] for row in rows} == {0}
    assert {f"{federation}.{name}" for name in ("coordinator", "events", "results")} <= {
        queue["name"] for queue in document["queues"]
    }
    assert document["cannot_see"] == []
    password = urlsplit(broker_url).password
    assert password
    assert password not in out


def test_without_the_management_api_it_listens_and_says_what_it_cannot_see(
    broker_url: str, federation: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with federation_of_two(broker_url, federation, tmp_path):
        document, rows = {}, []
        for _ in range(20):
            document, _ = looked_at(broker_url, federation, capsys, listen_seconds=1)
            rows = document["participants"]
            if len(rows) == 2:
                break

    assert [row["participant"] for row in rows] == ["p0", "p1"]
    assert document["queues"] is None
    assert document["coordinator"] is True
    assert "name the management API with --management" in document["cannot_see"][0]
    document, _ = looked_at(broker_url, federation, capsys, listen_seconds=0.1)
    assert document["coordinator"] is False, "and it has gone"


def test_a_vhost_that_is_not_there_is_no_vhost_without_queues(broker_node: BrokerNode) -> None:
    login = (broker_node.user, broker_node.password)
    management = ManagementClient(str(broker_node.management_url), login=login)
    with pytest.raises(BrokerUnreachableError, match="knows no vhost 'elsewhere'"):
        queues_of(management, "elsewhere", "F")


def test_a_federation_that_nobody_opened_and_an_api_that_is_not_there_are_said_to_be_so(
    broker_url: str, federation: str, capsys: pytest.CaptureFixture[str]
) -> None:
    document, _ = looked_at(
        broker_url, federation, capsys, management="http://127.0.0.1:9", listen_seconds=0
    )

    assert "there is no management API at http://127.0.0.1:9" in document["cannot_see"][0]
    assert "no coordinator has opened the federation" in document["cannot_see"][1]


def test_a_watch_goes_on_until_it_is_stopped(
    broker_url: str, federation: str, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = StatusSettings(federation=federation, broker=(broker_url,))
    stops: list[Any] = []
    watching = threading.Thread(
        target=watch,
        args=(settings,),
        kwargs={"json": True, "repeat": True, "on_ready": stops.append},
    )
    watching.start()
    lines: list[str] = []
    while len(lines) < 2:
        lines += capsys.readouterr().out.splitlines()
        time.sleep(0.05)
    stops[0]("enough")
    watching.join(10)

    assert not watching.is_alive()


def a_picture() -> FederationStatus:
    status = FederationStatus("F")
    status.take_version(Labels(run="r", version=4), epoch=2)
    status.take_event(Hello(participant="new", instance="i", device="cpu", num_examples=7), 10.0)
    status.take_event(
        Progress(
            participant="busy", instance="i", run="r", version=5, phase="training", step=3, steps=9
        ),
        11.0,
    )
    status.take_event(Goodbye(participant="gone", instance="i"), 12.0)
    return status


def test_a_newer_version_that_somebody_trains_on_is_the_current_one() -> None:
    status = a_picture()

    assert (status.version, status.round, status.epoch) == (5, 6, 2)
    status.take_version(Labels(run="another", version=0), epoch=3)
    assert (status.run, status.version) == ("another", 0)


def test_a_run_that_is_over_has_no_open_round_until_another_one_begins() -> None:
    status = a_picture()
    status.take_end(RunFinished(run="r", version=5, reason="loss reached 0.1\n(--until)"))
    assert status.round is None
    assert "run r is over with version 5: loss reached 0.1" in formatting.headline(status)
    assert status.document(12.0)["ended"] == "loss reached 0.1\n(--until)"
    status.take_version(Labels(run="r", version=5), epoch=2)
    assert status.ended is not None
    status.take_version(Labels(run="r", version=6), epoch=3)
    assert (status.ended, status.round) == (None, 7)
    status.take_end(RunFinished(run="r", version=6))
    assert "version 6: after its last round" in formatting.headline(status)
    status.take_version(Labels(run="next", version=0), epoch=4)
    assert (status.ended, status.round) == (None, 1)


def test_a_queue_tells_of_those_who_say_nothing() -> None:
    """Unacknowledged is at work, no consumer is away."""
    status = a_picture()
    status.queues = [
        QueueStatus("F.participant.silent", ready=0, unacknowledged=1, consumers=1, num_bytes=9),
        QueueStatus("F.participant.away", ready=1, unacknowledged=0, consumers=0, num_bytes=9),
        QueueStatus("F.participant.busy", ready=1, unacknowledged=1, consumers=1, num_bytes=9),
        QueueStatus("F.coordinator", ready=0, unacknowledged=0, consumers=0, num_bytes=0),
        QueueStatus("F.status.1.events", ready=0, unacknowledged=0, consumers=1, num_bytes=0),
    ]

    doing = {row["participant"]: (row["here"], row["doing"]) for row in status.participants(12.0)}
    assert doing == {
        "away": (False, "away, a version is waiting"),
        "busy": (True, "training"),
        "gone": (False, "left"),
        "new": (True, "joining"),
        "silent": (True, "at work"),
    }
    assert status.coordinator is True
    assert not status.is_complete  # `silent` was not heard


def test_lines_for_people_name_all_that_is_known_and_nothing_else() -> None:
    assert list(formatting.lines(a_picture(), 12.5)) == [
        "federation F, coordinator unknown, run r, round 6 on version 5, epoch 2",
        "busy: doing training, version 5, step 3/9, heard 1.5 s ago",
        "gone: doing left, heard 0.5 s ago",
        "new: doing joining, device cpu, heard 2.5 s ago",
    ]


def test_a_region_says_for_how_many_it_speaks() -> None:
    """From its hello on, and by each report since."""
    status = FederationStatus("F")
    hello = Hello(participant="north", instance="i", device="region", participants=1)
    status.take_event(hello, 10.0)
    assert list(formatting.lines(status, 10.0))[1:] == [
        "north: doing joining, device region of 1 participant, heard 0 s ago"
    ]
    status.take_event(
        Progress(
            participant="north",
            instance="i",
            run="r",
            version=5,
            phase="training",
            participants=40,
        ),
        11.0,
    )
    assert "device region of 40 participants" in list(formatting.lines(status, 11.0))[1]
    assert status.participants(11.0)[0]["participants"] == 40


def test_a_run_whose_coordinator_is_gone_has_no_open_round_for_people() -> None:
    picture = a_picture()
    picture.has_lock = False
    assert formatting.headline(picture) == (
        "federation F, no coordinator at work, run r stands at version 5: it goes on when its "
        "coordinator is started again, epoch 2"
    )


def test_a_device_may_bear_any_name() -> None:
    """It comes from a stranger: neither rich's markup nor a control character does anything."""
    status = FederationStatus("F")
    hello = Hello(participant="odd", instance="i", device="[/x]\x1b[2J\nfake", num_examples=7)
    status.take_event(hello, 10.0)
    screen = io.StringIO()
    Console(file=screen, width=200).print(formatting.table(status, 10.0))

    assert "[/x]\\x1b[2J\\nfake" in screen.getvalue()
    assert list(formatting.lines(status, 10.0))[1:] == [
        "odd: doing joining, device [/x]\\x1b[2J\\nfake, heard 0 s ago"
    ]


def test_without_a_broker_it_says_so() -> None:
    settings = StatusSettings(management="http://127.0.0.1:15672")
    with pytest.raises(InvalidInputError, match="name a broker with --broker"):
        watch(settings, json=True, repeat=False, on_ready=lambda _: None)


def test_a_password_is_not_sent_in_clear_to_another_machine() -> None:
    settings = StatusSettings(broker=("amqp://me:hush@localhost",), management="http://192.0.2.1:9")
    with pytest.raises(InvalidInputError, match=r"unencrypted to 192\.0\.2\.1") as refusal:
        watch(settings, json=True, repeat=False, on_ready=lambda _: None)
    assert "hush" not in str(refusal.value)


def test_its_addresses_are_not_shown() -> None:
    settings = StatusSettings(broker=("amqp://me:hush@h",), management="http://me:hush@h")
    assert "hush" not in repr(settings)

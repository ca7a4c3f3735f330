"""Facts about a participant who means harm: rounds close, and nothing piles up on its account."""

import json
import struct
import time
from collections.abc import Iterator
from typing import Any

import pika
import pytest

from fanfold.coordinator.admission.rate_limits import MAX_ANSWERS, MAX_MALFORMED, MAX_NEWS
from fanfold.coordinator.aggregation.refusals import Reason
from fanfold.coordinator.broker.dead_letter import DEAD_LETTER_BYTES
from fanfold.coordinator.broker.publisher import MAX_WELCOMES
from fanfold.schemas.chunking import Assembly, ChunkHeader, cut
from fanfold.schemas.message_codec import encode
from fanfold.schemas.messages import PROTOCOL, Goodbye, Hello, Message, UpdateRefused
from fanfold.schemas.names import EVENT_KEY, UPDATE_KEY, FederationNames
from fanfold.schemas.reader_limits import ReaderLimits

PATIENCE_SECONDS = 60
LIMITS = ReaderLimits(max_bytes=1 << 20)
ME = "fanfold"
"""The login of the tests' broker, which everybody shares there, and here an id as well."""


class Mallory:
    """A login that may publish, on a channel of plain pika."""

    def __init__(self, live: Any) -> None:
        self.names = FederationNames(live.name)
        self.connection = pika.BlockingConnection(pika.URLParameters(live.url))
        self.channel = self.connection.channel()

    def publish(self, key: str, kind: str, headers: Any, body: bytes) -> None:
        properties = pika.BasicProperties(type=kind, headers=headers, user_id=ME)
        self.channel.basic_publish(self.names.reports_exchange, key, body, properties)

    def say(self, event: Message) -> None:
        (chunk,) = cut(encode(event))
        self.publish(EVENT_KEY, chunk.kind, chunk.headers, bytes(chunk.body))

    def one_byte(self, run: str, version: int, number: int) -> None:
        """Something that looks like an update from outside."""
        headers = {
            "protocol": PROTOCOL,
            "digest": f"{number:064x}",
            "chunk": 0,
            "chunks": 1,
            "chunk_bytes": 1024,
            "bytes": 1,
            "chunk_blake3": "0" * 64,
            "run": run,
            "version": version,
            "participant": ME,
            "examples": 1,
        }
        self.publish(UPDATE_KEY, "Update", headers, b"x")

    def wait_until_empty(self, queue: str) -> None:
        """Wait until the coordinator has taken all that lies in a queue."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while self.channel.queue_declare(queue, passive=True).method.message_count:
            assert time.monotonic() < deadline
            self.connection.sleep(0.05)

    def next_letter(self, queue: str) -> tuple[Any, bytes]:
        """Return the properties and the body of the next message in a queue."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            method, properties, body = self.channel.basic_get(queue, auto_ack=True)
            if method is not None:
                return properties, body
            assert time.monotonic() < deadline
            self.connection.sleep(0.05)

    def next_answer(self) -> UpdateRefused:
        """Return the next refusal in our own queue."""
        while True:
            properties, body = self.next_letter(self.names.participant_queue(ME))
            if properties.type == UpdateRefused.KIND:
                header = ChunkHeader.parse(properties.type, properties.headers, len(body), LIMITS)
                assembly = Assembly(header, LIMITS)
                assembly.add(header, body)
                answer = assembly.decode().message
                assert isinstance(answer, UpdateRefused)
                return answer


@pytest.fixture
def mallory(live: Any) -> Iterator[Mallory]:
    """Connected; nothing is said yet."""
    mallory = Mallory(live)
    yield mallory
    mallory.connection.close()


def rounds_go_on(coordinator: Any) -> None:
    closed = len(coordinator.all("round_closed"))
    coordinator.wait_for("round_closed", times=closed + 2)


def test_a_flood_under_ever_new_versions_gets_one_answer_and_stops_no_round(
    live: Any, mallory: Mallory
) -> None:
    """Two thousand messages of a byte each: that is no two thousand lines, files and answers."""
    live.participant("Tiny")
    coordinator = live.coordinator("Tiny", rounds=100_000)
    coordinator.wait_for("round_closed")
    run = coordinator.all("run_started")[0]["run"]
    for number in range(2000):
        mallory.one_byte(run, version=number + 10**6, number=number)

    def records() -> list[dict[str, Any]]:
        lines = (live.out / "history.jsonl").read_text().splitlines(keepends=True)
        return [json.loads(line) for line in lines if line.endswith("\n")]

    def all_are_recorded() -> bool:
        """Refusals are recorded with the round in which they were read, when it closes."""
        refused = [record.get("refused", {}) for record in records()]
        return (
            sum(each.get(Reason.UNKNOWN_BASE, 0) + each.get(Reason.FLOOD, 0) for each in refused)
            == 2000
        )

    coordinator.wait_until(all_are_recorded)
    rounds_go_on(coordinator)
    assert 0 < len(coordinator.all("update_refused")) <= MAX_ANSWERS
    live.services[-1].stop("enough")
    coordinator.result.result(PATIENCE_SECONDS)
    assert sum(record["event"] == "refused" for record in records()) <= MAX_ANSWERS


@pytest.mark.slow
def test_hello_after_hello_from_an_empty_queue_gets_the_version_a_few_times(
    live: Any, mallory: Mallory
) -> None:
    """Its sender may empty its own queue, and would have the whole model sent each time."""
    coordinator = live.coordinator("Tiny", rounds=2, deadline_seconds=3600.0)
    coordinator.wait_for("waiting")
    mallory.say(Hello(participant=ME, instance="m", num_examples=1))
    coordinator.wait_for("participant_joined")
    queue = mallory.names.participant_queue(ME)
    mallory.next_letter(queue)  # the version, to all
    received = 0
    for _ in range(4 * (MAX_WELCOMES + 2)):
        mallory.say(Hello(participant=ME, instance="m", num_examples=1))
        mallory.wait_until_empty(mallory.names.events_queue)
        mallory.connection.sleep(0.2)
        received += mallory.channel.queue_purge(queue).method.message_count
    assert 1 <= received <= MAX_WELCOMES


def test_coming_and_going_without_end_is_told_a_few_times(live: Any, mallory: Mallory) -> None:
    coordinator = live.coordinator("Tiny", rounds=2, min_participants=2)
    coordinator.wait_for("waiting")
    for _ in range(300):
        mallory.say(Hello(participant=ME, instance="m"))
        mallory.say(Goodbye(participant=ME, instance="m", reason="x" * 1024))
    mallory.wait_until_empty(mallory.names.events_queue)
    live.participant("Tiny", 0, 2)
    coordinator.wait_until(
        lambda: any(told["participant"] == "p0" for told in coordinator.all("participant_joined"))
    )
    told = coordinator.all("participant_joined") + coordinator.all("participant_left")
    assert sum(fields["participant"] == ME for fields in told) == MAX_NEWS


def test_what_is_malformed_is_answered_and_kept_in_part(live: Any, mallory: Mallory) -> None:
    """The login that the broker names is told of each mistake once; a person finds the start."""
    coordinator = live.coordinator("Tiny", rounds=2)
    coordinator.wait_for("waiting")
    mallory.say(Hello(participant=ME, instance="m", num_examples=1))
    coordinator.wait_for("participant_joined")
    mallory.publish(UPDATE_KEY, "Update", {"protocol": PROTOCOL}, bytes(1_000_000))
    answer = mallory.next_answer()
    assert answer.reason == "malformed: header 'digest' is not text of at most 64 characters"
    mallory.publish(EVENT_KEY, "Hello", {"protocol": "2"}, b"x")
    assert mallory.next_answer().reason == "malformed: header 'protocol' is not an integer"
    for _ in range(2 * MAX_MALFORMED):
        mallory.publish(UPDATE_KEY, "Update", {"protocol": PROTOCOL}, bytes(1_000_000))
    mallory.one_byte("another-run", version=0, number=0)
    coordinator.wait_for("update_refused")  # so everything before it was judged
    properties, body = mallory.next_letter(mallory.names.dead_letters_queue)
    assert (len(body), properties.headers["body_bytes"]) == (DEAD_LETTER_BYTES, 1_000_000)
    assert len(coordinator.all("message_refused")) == MAX_MALFORMED


def test_an_id_too_long_for_a_routing_key_is_refused(live: Any, mallory: Mallory) -> None:
    """64 characters of four bytes are 256 bytes."""
    live.participant("Tiny")
    coordinator = live.coordinator("Tiny", rounds=100_000)
    coordinator.wait_for("round_closed")
    headers = {"participant": "\U0001f600" * 64, "run": "r", "version": 0, "examples": 1}
    mallory.publish(
        UPDATE_KEY,
        "Update",
        {"protocol": PROTOCOL, "digest": "0" * 64, "chunks": 1, "chunk_bytes": 1024, "bytes": 1}
        | headers,
        b"x",
    )
    (refused,) = coordinator.wait_for("message_refused")
    assert refused["reason"] == "header 'participant' is not an identifier"
    rounds_go_on(coordinator)


def test_headers_that_cannot_be_read_reach_the_dead_letters(live: Any, mallory: Mallory) -> None:
    """A time far beyond the calendar, as update and as event; the run goes on."""
    live.participant("Tiny")
    coordinator = live.coordinator("Tiny", rounds=100_000)
    coordinator.wait_for("round_closed")

    class Poisoned(pika.BasicProperties):
        def encode(self) -> list[bytes]:
            field = b"\x08protocolT" + struct.pack(">Q", 2**63)
            flags = struct.pack(">H", self.FLAG_HEADERS | self.FLAG_TYPE)
            return [flags, struct.pack(">I", len(field)) + field, b"\x06Update"]

    for key in (UPDATE_KEY, EVENT_KEY):
        mallory.channel.basic_publish(mallory.names.reports_exchange, key, b"x", Poisoned())
    refused = coordinator.wait_for("message_refused", times=2)
    assert {fields["reason"] for fields in refused} == {"header 'protocol' is not an integer"}
    for _ in refused:
        mallory.next_letter(mallory.names.dead_letters_queue)
    rounds_go_on(coordinator)

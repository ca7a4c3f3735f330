"""A participant who was let in and means harm: run with its credentials file, until killed.

    python tests/hostile/mallory.py CREDENTIALS MESSAGES_PER_SECOND

Whatever enrolment leaves it, it does: for every version it receives it makes one message of each
kind of attack, and publishes them over and over; twice a second it empties its own queue, says
hello, and comes and goes. Its last line says how many updates it sent in how many seconds, and what
processor time that cost, so that its own load can be told from the harm it does.
"""

import itertools
import json
import os
import signal
import struct
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pika
import torch
from blake3 import blake3
from torch import Tensor

from fanfold.access.credentials import Credentials
from fanfold.schemas.chunking import Assembly, Chunk, ChunkHeader, cut
from fanfold.schemas.errors import MalformedMessageError
from fanfold.schemas.message_codec import encode
from fanfold.schemas.messages import GlobalParameters, Goodbye, Hello, Update
from fanfold.schemas.names import EVENT_KEY, UPDATE_KEY, FederationNames
from fanfold.schemas.reader_limits import ReaderLimits
from fanfold.schemas.tensor_codec import decode_tensors, encode_tensors

Message = tuple[str, Mapping[str, Any] | bytes, bytes]
"""The AMQP property type, headers (or the bytes of their table) and body."""
HELLO_SECONDS = 0.5
LIMITS = ReaderLimits(max_bytes=1 << 30)


def attacks(
    version: GlobalParameters, digest: str, tensors: dict[str, Tensor], me: str
) -> list[Iterator[Message]]:
    """Return an endless stream of messages for each attack."""
    kinds = {name: "delta" for name, tensor in tensors.items() if tensor.is_floating_point()}

    def update(
        values: Mapping[str, Tensor], *, name: str = me, run: str = version.run, examples: int = 1
    ) -> list[Message]:
        message = Update(
            run=run,
            participant=name,
            base_version=version.version,
            base_digest=digest,
            num_examples=examples,
        )
        here = {name: kinds.get(name, "delta") for name in values}
        return [
            sent(chunk) for chunk in cut(encode_tensors(message, values, kinds=here))
        ]  # literals

    def filled(value: float) -> dict[str, Tensor]:
        return {name: torch.full_like(tensors[name], value) for name in kinds}

    fair = update(filled(0.0))
    kind, headers, body = fair[0]
    return [
        itertools.cycle(update({name: torch.zeros(3) for name in kinds})),  # wrong shapes
        itertools.cycle(update(filled(float("nan")))),
        itertools.cycle(update(filled(1e30), examples=2**53)),
        itertools.cycle([(kind, headers, body[: len(body) // 2])]),  # truncated
        itertools.cycle([(kind, {**headers, "bytes": 2**40, "chunks": 2**18}, body)]),  # 1 TB
        never_completed(kind, headers),
        itertools.cycle(fair),  # replays
        itertools.cycle(update(filled(1.0), name="honest-0")),
        itertools.cycle(update(filled(1.0), run="another-run")),
        itertools.cycle([("Nonsense", {}, os.urandom(1000))]),
        itertools.cycle([("Update", poison(), b"x")]),
        ever_new_versions(kind, headers),
    ]


def poison() -> bytes:
    """Return headers with a time far beyond the calendar, which pika cannot read."""
    field = b"\x08protocolT" + struct.pack(">Q", 2**63)
    return struct.pack(">I", len(field)) + field


def ever_new_versions(kind: str, headers: Mapping[str, Any]) -> Iterator[Message]:
    """Yield updates of one byte, each of another version and with another digest."""
    one = {"chunk": 0, "chunks": 1, "bytes": 1}
    for number in itertools.count(10**6):
        yield kind, {**headers, **one, "digest": f"{number:064x}", "version": number}, b"x"


def never_completed(kind: str, headers: Mapping[str, Any]) -> Iterator[Message]:
    """Yield first chunks of messages that never go on, each of another message."""
    body = bytes(4096)
    chunks = {"chunk": 0, "chunks": 8, "chunk_bytes": 4096, "bytes": 8 * 4096}
    for number in itertools.count():
        yield (
            kind,
            {
                **headers,
                **chunks,
                "digest": blake3(str(number).encode()).hexdigest(),
                "chunk_blake3": blake3(body).hexdigest(),
            },
            body,
        )


def sent(chunk: Chunk) -> Message:
    """Return a chunk as it is published."""
    return chunk.kind, chunk.headers, bytes(chunk.body)


def receive(channel: Any, queue: str) -> tuple[GlobalParameters, str, dict[str, Tensor]] | None:
    """Return the newest version in our queue, None where there is none."""
    found, assembly = None, None
    while True:
        method, properties, body = channel.basic_get(queue, auto_ack=True)
        if method is None:
            return found
        try:
            header = ChunkHeader.parse(properties.type, properties.headers, len(body), LIMITS)
            if assembly is None or assembly.identity != header.whole:
                assembly = Assembly(header, LIMITS)
            if header.kind == GlobalParameters.KIND and assembly.add(header, body):
                decoded = assembly.decode()
                if isinstance(decoded.message, GlobalParameters):
                    found = (decoded.message, header.whole.digest, decode_tensors(decoded))
        except MalformedMessageError:
            continue


class Raw(pika.BasicProperties):
    """Properties whose headers are these bytes, whatever they mean."""

    def __init__(self, kind: str, table: bytes, user_id: str) -> None:
        super().__init__()
        names = b"".join(bytes([len(text)]) + text.encode() for text in (kind, user_id))
        flags = self.FLAG_HEADERS | self.FLAG_TYPE | self.FLAG_USER_ID
        self._bytes = struct.pack(">H", flags) + table + names

    def encode(self) -> list[bytes]:
        """Return what travels."""
        return [self._bytes]


def properties_of(kind: str, headers: Mapping[str, Any] | bytes, me: str) -> pika.BasicProperties:
    """Return the properties that carry these headers."""
    if isinstance(headers, bytes):
        return Raw(kind, headers, me)
    return pika.BasicProperties(type=kind, headers=dict(headers), user_id=me)


def come_and_go(channel: Any, names: FederationNames, me: str) -> None:
    """Ask for the version from an empty queue, as everybody may, and leave in between."""
    events = (
        Goodbye(participant=me, instance="m", reason="x" * 1024),
        Hello(participant=me, instance="m", num_examples=1),
    )
    for event in events:
        (chunk,) = cut(encode(event))
        properties = properties_of(chunk.kind, chunk.headers, me)
        channel.basic_publish(names.reports_exchange, EVENT_KEY, bytes(chunk.body), properties)


def main() -> None:
    """Attack until SIGTERM."""
    credentials = Credentials.read(Path(sys.argv[1]))
    rate = float(sys.argv[2])
    (url,) = credentials.options({})["broker"]
    names, me = FederationNames(credentials.federation), credentials.login
    stopped = False

    def stop(*_: object) -> None:
        nonlocal stopped
        stopped = True

    signal.signal(signal.SIGTERM, stop)
    connection = pika.BlockingConnection(pika.URLParameters(url))
    channel = connection.channel()
    next_hello = time.monotonic()
    count, first_sent, streams = 0, 0.0, []
    while not stopped:
        version = None
        if time.monotonic() >= next_hello:
            version = receive(channel, names.participant_queue(me))  # and empty the queue
            come_and_go(channel, names, me)
            next_hello = time.monotonic() + HELLO_SECONDS
        if version is not None:
            streams = attacks(*version, me)
        if not streams:
            time.sleep(0.05)
            continue
        first_sent = first_sent or time.monotonic()
        for stream in streams:
            kind, headers, body = next(stream)
            properties = properties_of(kind, headers, me)
            channel.basic_publish(names.reports_exchange, UPDATE_KEY, body, properties)
            count += 1
        ahead = count / rate - (time.monotonic() - first_sent)
        connection.sleep(max(0.0, min(ahead, 0.5)))
    times = os.times()
    report = {
        "sent": count,
        "seconds": round(time.monotonic() - first_sent, 2),
        "cpu_seconds": round(times.user + times.system, 2),
    }
    sys.stdout.write(json.dumps(report) + "\n")


if __name__ == "__main__":
    main()

"""A participant who was let in and means harm: run with its credentials file, until killed.

    python tests/hostile/mallory.py CREDENTIALS MESSAGES_PER_SECOND

Whatever enrolment leaves it, it does: for every version it receives it makes one message of each
kind of attack, and publishes them over and over. Its last line says how many it sent, and what
processor time that cost, so that its own load can be told from the harm it does.
"""

import itertools
import json
import os
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import pika
import torch
from torch import Tensor

from schemas.chunks import Assembly, Chunk, ChunkPlace, cut
from schemas.codec import encode
from schemas.errors import MalformedMessageError
from schemas.limits import Limits
from schemas.messages import GlobalParameters, Hello, Update
from schemas.tensors import decode_tensors, encode_tensors
from schemas.topology import EVENT_KEY, UPDATE_KEY, Topology
from warren.credentials import Credentials

Message = tuple[str, Mapping[str, Any], bytes]
"""The AMQP property type, headers and body."""
LIMITS = Limits(max_bytes=1 << 30)


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
        return [sent(chunk) for chunk in cut(encode_tensors(message, values, kinds=here))]  # type: ignore[arg-type]  # literals

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
    ]


def never_completed(kind: str, headers: Mapping[str, Any]) -> Iterator[Message]:
    """Yield first chunks of messages that never go on, each of another message."""
    body = bytes(1024)
    chunks = {"chunk": 0, "chunks": 200, "chunk_bytes": 1024, "bytes": 200 * 1024}
    for number in itertools.count():
        yield (
            kind,
            {
                **headers,
                **chunks,
                "digest": sha256(str(number).encode()).hexdigest(),
                "chunk_sha256": sha256(body).hexdigest(),
            },
            body,
        )


def sent(chunk: Chunk) -> Message:
    """Return a chunk as it is published."""
    return chunk.kind, chunk.headers, bytes(chunk.body)


def receive(channel: Any, queue: str) -> tuple[GlobalParameters, str, dict[str, Tensor]] | None:
    """Return the newest version in our queue, None where there is none."""
    found = None
    while True:
        method, properties, body = channel.basic_get(queue, auto_ack=True)
        if method is None:
            return found
        try:
            place = ChunkPlace.parse(properties.type, properties.headers, len(body), LIMITS)
            assembly = Assembly(place, LIMITS)
            if place.kind == GlobalParameters.KIND and assembly.add(place, body):
                decoded = assembly.decode()
                if isinstance(decoded.message, GlobalParameters):
                    found = (decoded.message, place.whole.digest, decode_tensors(decoded))
        except MalformedMessageError:
            continue


def publish_hello(channel: Any, exchange: str, me: str) -> None:
    """Say hello as everybody does."""
    (chunk,) = cut(encode(Hello(participant=me, instance="m", num_examples=1)))
    properties = pika.BasicProperties(type=chunk.kind, headers=chunk.headers, user_id=me)
    channel.basic_publish(exchange, EVENT_KEY, bytes(chunk.body), properties)


def main() -> None:
    """Attack until SIGTERM."""
    credentials = Credentials.read(Path(sys.argv[1]))
    rate = float(sys.argv[2])
    (url,) = credentials.options({})["broker"]
    names, me = Topology(credentials.federation), credentials.login
    stopped = False

    def stop(*_: object) -> None:
        nonlocal stopped
        stopped = True

    signal.signal(signal.SIGTERM, stop)
    connection = pika.BlockingConnection(pika.URLParameters(url))
    channel = connection.channel()
    began = next_hello = time.monotonic()
    count, streams = 0, []
    while not stopped:
        if time.monotonic() >= next_hello:  # the coordinator makes room for a version then
            publish_hello(channel, names.reports_exchange, me)
            next_hello = time.monotonic() + 5
        version = receive(channel, names.participant_queue(me)) if count % 200 == 0 else None
        if version is not None:
            streams = attacks(*version, me)
        if not streams:
            time.sleep(0.05)
            continue
        for stream in streams:
            kind, headers, body = next(stream)
            properties = pika.BasicProperties(type=kind, headers=dict(headers), user_id=me)
            channel.basic_publish(names.reports_exchange, UPDATE_KEY, body, properties)
            count += 1
        ahead = count / rate - (time.monotonic() - began)
        connection.sleep(max(0.0, min(ahead, 0.5)))
    times = os.times()
    sys.stdout.write(
        json.dumps({"sent": count, "cpu_seconds": round(times.user + times.system, 2)}) + "\n"
    )


if __name__ == "__main__":
    main()

"""The floor of a round: bare pika processes that move the same bytes, and nothing else.

One process publishes the bytes to a fanout exchange in 4 MiB chunks. Each of N processes receives
all of them and publishes as many to one results queue. The first process receives those, adds them
up in float64 and writes the model to one synced file. Messages are persistent, confirmed and
acknowledged, with pika's default settings. There is no training, no header but the chunk's number,
no digest, and no recovery after a crash.
"""

import multiprocessing
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Annotated

import numpy as np
import pika
import typer
from pika.adapters.blocking_connection import BlockingChannel

CHUNK_BYTES = 4 << 20
PARTICIPANT_WINDOW, COORDINATOR_WINDOW = 4, 8
"""Chunks that may be unacknowledged. A larger window makes neither faster."""
CLASSIC = {"x-queue-type": "classic"}
PARAMETERS, RESULTS = "floor.parameters", "floor.results"


def run(url: str, *, num_bytes: int, participants: int, rounds: int) -> list[float]:
    """Run the floor and return the seconds of each round.

    Args:
        url: a broker on which nothing else happens.
        num_bytes: the size of the model, a multiple of 4.
        participants: how many processes receive and answer it.
        rounds: how many rounds, at least 1.
    """
    connection = _connect(url)
    receiving, sending = connection.channel(), connection.channel()
    sending.confirm_delivery()
    sending.exchange_declare(PARAMETERS, "fanout")
    receiving.queue_delete(RESULTS)
    receiving.queue_declare(RESULTS, durable=True, arguments=CLASSIC)
    receiving.basic_qos(prefetch_count=COORDINATOR_WINDOW)

    # Forked, because starting 64 interpreters would take long; this process has no other threads.
    context = multiprocessing.get_context("fork")
    ready = context.Barrier(participants + 1)
    processes = [
        context.Process(
            target=_participate, args=(url, index, num_bytes, rounds, ready), daemon=True
        )
        for index in range(participants)
    ]
    for process in processes:
        process.start()
    ready.wait()

    parameters = np.random.default_rng(0).random(num_bytes // 4, dtype=np.float32)
    total = np.zeros(num_bytes // 4, dtype=np.float64)
    seconds = []
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(rounds):
            began = time.perf_counter()
            for body in _chunks(memoryview(parameters).cast("B")):
                sending.basic_publish(PARAMETERS, "", body, pika.BasicProperties(delivery_mode=2))
            _collect(receiving, total, num_bytes * participants)
            _write(Path(folder) / "model", memoryview(parameters).cast("B"))
            seconds.append(time.perf_counter() - began)

    for process in processes:
        process.join()
    receiving.queue_delete(RESULTS)
    sending.exchange_delete(PARAMETERS)
    connection.close()
    return seconds


def _participate(url: str, index: int, num_bytes: int, rounds: int, ready: Barrier) -> None:
    connection = _connect(url)
    receiving, sending = connection.channel(), connection.channel()
    sending.confirm_delivery()
    receiving.basic_qos(prefetch_count=PARTICIPANT_WINDOW)
    queue = f"floor.participant.{index}"
    receiving.queue_declare(queue, durable=True, arguments=CLASSIC)
    receiving.queue_purge(queue)
    receiving.queue_bind(queue, PARAMETERS)
    ready.wait()
    buffer = bytearray(num_bytes)
    for _ in range(rounds):
        filled = 0
        for body in _receive(receiving, queue, num_bytes):
            buffer[filled : filled + len(body)] = body
            filled += len(body)
        for number, body in enumerate(_chunks(memoryview(buffer))):
            properties = pika.BasicProperties(delivery_mode=2, headers={"chunk": number})
            sending.basic_publish("", RESULTS, body, properties)
    receiving.queue_delete(queue)
    connection.close()


def _collect(receiving: BlockingChannel, total: np.ndarray, missing: int) -> None:
    """Add up the participants' values until `missing` bytes have arrived."""
    for method, properties, body in receiving.consume(RESULTS):
        begin = properties.headers["chunk"] * CHUNK_BYTES // 4
        values = np.frombuffer(body, dtype=np.float32)
        total[begin : begin + len(values)] += values
        receiving.basic_ack(method.delivery_tag)
        missing -= len(body)
        if not missing:
            return


def _receive(channel: BlockingChannel, queue: str, missing: int) -> Iterator[bytes]:
    for method, _, body in channel.consume(queue):
        channel.basic_ack(method.delivery_tag)
        yield body
        missing -= len(body)
        if not missing:
            return


def _chunks(payload: memoryview) -> list[bytes]:
    return [
        bytes(payload[begin : begin + CHUNK_BYTES]) for begin in range(0, len(payload), CHUNK_BYTES)
    ]


def _write(path: Path, payload: memoryview) -> None:
    with path.open("wb") as file:
        file.write(payload)
        file.flush()
        os.fsync(file.fileno())


def _connect(url: str) -> pika.BlockingConnection:
    parameters = pika.URLParameters(url)
    parameters.heartbeat = 0
    return pika.BlockingConnection(parameters)


def main(
    url: str = "amqp://guest:guest@127.0.0.1:5672/",
    num_bytes: Annotated[int, typer.Option("--bytes")] = 263_400,
    participants: int = 4,
    rounds: int = 20,
) -> None:
    """Print the median round of the floor alone."""
    seconds = run(url, num_bytes=num_bytes, participants=participants, rounds=rounds)
    print(f"median {statistics.median(seconds):.4f} s, least {min(seconds):.4f} s")


if __name__ == "__main__":
    typer.run(main)

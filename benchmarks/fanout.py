"""What participants cost the broker: idle ones, and a version of 100 MB that lies in their queues.

    python -m benchmarks.fanout --participants 500,1000,2000

Bare pika: connections that consume nothing yet, one durable classic queue for each, all bound to a
fanout exchange, and 25 chunks of 4 MiB, transient as versions are on one node. Shows the broker's
memory and the time until the last chunk is confirmed.
"""

import time
from contextlib import ExitStack, closing

import pika
import typer

from benchmarks.processes import status
from benchmarks.results import machine
from tests.nodes import BrokerNode

CHUNK_BYTES, CHUNKS = 4 << 20, 25
EXCHANGE = "versions"
SETTLES_SECONDS = 3.0
MIB = 1 << 20


def main(participants: str = "500,1000,2000", *, persistent: bool = False) -> None:
    """Measure each number on a broker of its own."""
    print(machine())
    for count in map(int, participants.split(",")):
        with BrokerNode.start() as node, ExitStack() as stack:
            before = memory(node)
            channel = stack.enter_context(closing(connection(node))).channel()
            channel.confirm_delivery()
            channel.exchange_declare(EXCHANGE, "fanout", durable=True)
            for index in range(count):
                stack.enter_context(closing(connection(node)))
                queue = f"participant.{index}"
                channel.queue_declare(queue, durable=True, arguments={"x-queue-type": "classic"})
                channel.queue_bind(queue, EXCHANGE)
            idle = memory(node)
            began = time.perf_counter()
            for _ in range(CHUNKS):
                properties = pika.BasicProperties(delivery_mode=2 if persistent else 1)
                channel.basic_publish(EXCHANGE, "", bytes(CHUNK_BYTES), properties)
            seconds = time.perf_counter() - began
            full = memory(node)
            print(
                f"{count} participants: {(idle - before) / count / 1024:.0f} KiB for each, idle; "
                f"a version of {CHUNKS} chunks: {seconds:.2f} s, "
                f"{seconds / CHUNKS / count * 1e3:.3f} ms and "
                f"{(full - idle) / CHUNKS / count / 1024:.2f} KiB for each chunk and queue "
                f"({(full - idle) / MIB:.0f} MiB)",
                flush=True,
            )


def connection(node: BrokerNode) -> pika.BlockingConnection:
    """Return a connection without heartbeats: nobody would answer them."""
    parameters = pika.URLParameters(node.url)
    parameters.heartbeat = 0
    return pika.BlockingConnection(parameters)


def memory(node: BrokerNode) -> int:
    """Return the resident memory of the broker, once it has settled."""
    time.sleep(SETTLES_SECONDS)
    return status(node.pid)["VmRSS"]


if __name__ == "__main__":
    typer.run(main)

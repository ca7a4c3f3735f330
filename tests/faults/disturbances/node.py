"""The broker's node: stopped and started, frozen, short of memory, and without its data."""

import random
import shutil
from collections.abc import Iterator

from chaos_federation import Federation

from disturbances.kind import kind


@kind("rabbitmqctl stop_app, and start_app after 1 to 5 s", "Everybody comes back.")
def stop_app(federation: Federation, dice: random.Random) -> Iterator[None]:
    federation.broker.ctl("stop_app")
    federation.rest(dice.uniform(1, 5))
    federation.broker.ctl("start_app")
    yield


@kind("the broker stopped for 5 to 20 s", "Connections that were given up come back.")
def broker_paused(federation: Federation, dice: random.Random) -> Iterator[None]:
    federation.broker.suspend()
    federation.rest(dice.uniform(5, 20))
    federation.broker.wake()
    yield


@kind("a memory alarm for 3 to 8 s", "Nobody can publish meanwhile; everybody goes on after it.")
def memory_alarm(federation: Federation, dice: random.Random) -> Iterator[None]:
    federation.broker.ctl("set_vm_memory_high_watermark", "0.000001")
    federation.rest(dice.uniform(3, 8))
    federation.broker.ctl("set_vm_memory_high_watermark", "0.4")
    yield


@kind(
    "the broker wiped",
    "What was queued or not confirmed is gone. Everything is declared again, the version goes out "
    "again, rounds go on, nothing counts twice.",
)
def wiped(federation: Federation, dice: random.Random) -> Iterator[None]:
    federation.broker.kill()
    for path in federation.broker._folder.iterdir():
        if path.is_dir() and "@" in path.name:  # named after the node
            shutil.rmtree(path)
    federation.rest(dice.uniform(0, 2))
    federation.broker.resume()
    yield


KINDS = (stop_app, broker_paused, memory_alarm, wiped)

"""The coordinator's files: damaged, cut short or gone while it does not run."""

import json
import random
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from chaos_federation import Federation
from chaos_names import Name, names_of
from services import Service

from disturbances.damage import REFUSED, flip
from disturbances.kind import Kind
from fanfold.coordinator.persistence.checkpoint_store import CheckpointStore
from fanfold.coordinator.persistence.history import MOST_TAIL_BYTES


def acknowledged(out: Path) -> set[Name]:
    """Return the updates that the newest checkpoint counts: their deliveries are acknowledged."""
    checkpoint = CheckpointStore(out).peek()
    assert checkpoint is not None
    document = checkpoint.document
    synced = int(document["history_bytes"]) + len(document["history_tail"].encode())
    lines = (out / "history.jsonl").read_bytes()[:synced].splitlines()
    records = [json.loads(line) for line in lines]
    return {
        name
        for record in records
        if record["event"] in ("commit", "round")
        for name in names_of(record)
    }


def newest_checkpoint(federation: Federation, dice: random.Random) -> Iterator[None]:
    with federation.dead(federation.coordinator):
        federation.acknowledged |= acknowledged(federation.out)
        flip(federation.out / "checkpoint.safetensors", dice)
    yield


def previous_checkpoint(federation: Federation, dice: random.Random) -> Iterator[None]:
    with federation.dead(federation.coordinator):
        path = federation.out / "checkpoint.previous.safetensors"
        if path.exists():
            flip(path, dice)
    yield


def history_end(federation: Federation, dice: random.Random) -> Iterator[None]:
    """Cut off no more than the checkpoint holds too."""
    with federation.dead(federation.coordinator):
        checkpoint = CheckpointStore(federation.out).read()
        assert checkpoint is not None
        synced = int(checkpoint.document["history_bytes"])
        history = federation.out / "history.jsonl"
        body = history.read_bytes()
        history.write_bytes(body[: dice.randint(synced, len(body))])
    yield


def history_lost(how: str, federation: Federation, dice: random.Random) -> Iterator[None]:
    """Take away what no checkpoint holds; the copy comes back once it was missed."""
    coordinator, history = federation.coordinator, federation.out / "history.jsonl"
    federation.until(lambda: history.stat().st_size > 2 * MOST_TAIL_BYTES, "a longer history")
    federation.kill(coordinator)
    body = history.read_bytes()
    checkpoint = CheckpointStore(federation.out).read()
    assert checkpoint is not None
    synced = int(checkpoint.document["history_bytes"])
    if how == "gone":
        history.unlink()
    elif how == "changed":
        changed = bytearray(body)
        changed[dice.randrange(synced)] ^= 1
        history.write_bytes(changed)
    else:
        history.write_bytes(body[: dice.randrange(synced)])
    federation.services.start(coordinator)
    refused = _is_refused(federation, coordinator, "--accept-lost-history")
    if not refused:
        federation.kill(coordinator)
    history.write_bytes(body)
    federation.start(coordinator)
    yield
    assert refused, "the coordinator went on with a history that is not whole"


def epoch(how: str, federation: Federation, dice: random.Random) -> Iterator[None]:
    """Every participant has to take what comes under the epoch after it."""
    path = federation.out / "epoch"
    with federation.dead(federation.coordinator):
        if how == "gone":
            path.unlink()
        else:
            path.write_text("1\n")
    yield
    _everybody_hears(federation)


def epoch_damaged(content: str, federation: Federation, dice: random.Random) -> Iterator[None]:
    """The number that the sentence asks for is the one that was there."""
    coordinator, path = federation.coordinator, federation.out / "epoch"
    federation.kill(coordinator)
    before = path.read_text()
    path.write_text(content)
    federation.services.start(coordinator)
    refused = _is_refused(federation, coordinator, str(path))
    if not refused:
        federation.kill(coordinator)
    path.write_text(before)
    federation.start(coordinator)
    yield
    assert refused, "the coordinator went on with an epoch that is none"
    _everybody_hears(federation)


def _everybody_hears(federation: Federation) -> None:
    for participant in federation.participants:
        hears = federation.tells(participant, "version_received")
        federation.until(hears, f"a version at {participant.name}")


def _is_refused(federation: Federation, service: Service, named: str) -> bool:
    """Whether a coordinator ends in words that name an option or a file."""
    takes_over = federation.takes_over(service)
    federation.until(
        lambda: takes_over() or federation.services.has_ended(service), "an answer to the damage"
    )
    if not federation.services.has_ended(service):
        return False
    assert federation.services.wait(service) == REFUSED, federation.log(service)
    last = federation.log(service).strip().splitlines()[-1]
    assert named in last, f"the sentence does not name {named}: {last}"
    return True


AFTER_EPOCH = "The epoch goes on from the largest that is known: every participant hears on."
KINDS = (
    Kind(
        "the newest checkpoint damaged",
        "The one before it is taken, and what it did not count is named in the history.",
        newest_checkpoint,
    ),
    Kind("the previous checkpoint damaged", "Nobody misses it.", previous_checkpoint),
    Kind("the history's end cut off", "The checkpoint holds it too.", history_end),
    *(
        Kind(
            f"the history {what}",
            "The coordinator refuses it in words, and goes on with a copy.",
            partial(history_lost, how),
            is_slow=True,
        )
        for how, what in (
            ("cut", "cut below what was synced"),
            ("gone", "gone"),
            ("changed", "changed by a bit"),
        )
    ),
    *(
        Kind(f"the epoch's file {how}", AFTER_EPOCH, partial(epoch, how))
        for how in ("gone", "lowered")
    ),
    *(
        Kind(
            f"the epoch's file {how}",
            "The coordinator refuses it in words, and goes on with a number in it.",
            partial(epoch_damaged, content),
        )
        for how, content in (("empty", ""), ("damaged", "4?\n"))
    ),
)

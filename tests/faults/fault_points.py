"""Faults that are prepared in a process before the service begins, by wrapping its methods.

The product does not know of them.
"""

import errno
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fanfold.coordinator.aggregation.run_state import RunState
from fanfold.coordinator.broker.channel import CoordinatorChannel
from fanfold.coordinator.persistence.checkpoint_store import CheckpointStore
from fanfold.storage import safetensors_file

CRASH_CODE = 77
CRASH_ROUND = 2
CRASHES = ("aggregated", "checkpointed", "acknowledged", "published")
"""The step of round 2's close after which the coordinator is killed."""
PARTS_KEPT = "parts kept"
"""The coordinator is killed once it has acknowledged this many chunks, one by one."""
KEPT_CHUNKS = 5
STOPPED_IN_COMMIT = "stopped in commit"
"""The coordinator stops in the commit of round 2, as with Ctrl-Z: it exists and does nothing."""


def prepare(trouble: str) -> None:
    """Prepare one of the faults above, or a disk that cannot be written until a file exists.

    A disk reads `full disk until PATH`, or `EROFS from round 2 until PATH`, with any error's name.
    """
    name, from_round, path = trouble.partition(f" from round {CRASH_ROUND} until ")
    if trouble == PARTS_KEPT:
        _crash_in_upload()
    elif trouble == STOPPED_IN_COMMIT:
        _stop_in_commit()
    elif trouble.startswith("full disk until "):
        _fill_disk(Path(trouble.removeprefix("full disk until ")))
    elif from_round:
        _refuse_all_writes(getattr(errno, name), Path(path))
    else:
        _crash(trouble)


def _crash(after: str) -> None:
    closed = [0]
    _follow(RunState, "close_round", lambda _: closed.append(closed[-1] + 1))
    owner, name = {
        "aggregated": (RunState, "close_round"),
        "checkpointed": (CheckpointStore, "write"),
        "acknowledged": (CoordinatorChannel, "acknowledge_up_to"),
        "published": (CoordinatorChannel, "publish"),
    }[after]

    def end(owner: Any) -> None:
        if closed[-1] == CRASH_ROUND:
            if after == "acknowledged":
                owner.take_lock()  # its answer comes after what was sent before the question
            os._exit(CRASH_CODE)

    _follow(owner, name, end)


def _crash_in_upload() -> None:
    acknowledged = [0]

    def end(channel: CoordinatorChannel) -> None:
        acknowledged[0] += 1
        if acknowledged[0] == KEPT_CHUNKS:
            channel.take_lock()  # its answer comes after what was sent before the question
            os._exit(CRASH_CODE)

    _follow(CoordinatorChannel, "acknowledge_up_to", end)


def _stop_in_commit() -> None:
    closed = [0]
    _follow(RunState, "close_round", lambda _: closed.append(closed[-1] + 1))
    write = safetensors_file.write

    def stopped(*args: Any, **kwargs: Any) -> None:
        if closed[-1] == CRASH_ROUND:
            os.kill(os.getpid(), signal.SIGSTOP)
        write(*args, **kwargs)

    vars(safetensors_file)["write"] = stopped


def _fill_disk(room: Path) -> None:
    write = safetensors_file.write

    def full(*args: Any, **kwargs: Any) -> None:
        if not room.exists():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(*args, **kwargs)

    vars(safetensors_file)["write"] = full


def _refuse_all_writes(number: int, mended: Path) -> None:
    """Let everything fail with this error that changes a file, from the close of round 2 on."""
    closed, opening = [0], Path.open
    _follow(RunState, "close_round", lambda _: closed.append(closed[-1] + 1))

    def refused(real: Callable[..., Any]) -> Callable[..., Any]:
        def refused_or_done(*args: Any, **kwargs: Any) -> Any:
            mode = [*args, "r"][1] if real is opening else "w"
            if closed[-1] >= CRASH_ROUND and not mended.exists() and set(mode) & set("wax+"):
                raise OSError(number, os.strerror(number))
            return real(*args, **kwargs)

        return refused_or_done

    for owner, name in (
        *((os, name) for name in ("fsync", "fdatasync", "pwrite", "ftruncate")),
        *((Path, name) for name in ("open", "replace", "rename", "unlink", "touch")),
    ):
        setattr(owner, name, refused(getattr(owner, name)))


def _follow(owner: type, name: str, then: Callable[[Any], object]) -> None:
    method: Callable[..., Any] = getattr(owner, name)

    def followed(*args: Any, **kwargs: Any) -> Any:
        result = method(*args, **kwargs)
        then(args[0])
        return result

    setattr(owner, name, followed)

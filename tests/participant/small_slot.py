"""A work slot that trains the digits for one step, over a desk without a broker."""

import queue
from pathlib import Path
from typing import Any

from learning import load_task
from participant.reader import Version
from participant.slot import WorkSlot
from participant.state import StateFolder
from participant.trainer import Trainer
from schemas.chunks import Assembly, cut
from schemas.limits import Limits
from schemas.messages import GlobalParameters, TrainingPlan
from schemas.tensors import encode_tensors

LIMITS = Limits(max_bytes=1 << 20)


class Desk:
    """Takes every update."""

    def __init__(self) -> None:
        self.published = 0

    def publish_update(self, chunks: Any) -> None:
        self.published += len(list(chunks))

    def give_up_update(self) -> None:
        pass


def slot_over(
    folder: Path | None, desk: Desk, *, chunk_bytes: int = 1 << 20
) -> tuple[WorkSlot, Version, "queue.Queue[object]"]:
    """A slot that is asked to train the digits for a step, and what it delivers."""
    task = load_task("digits")()
    message = GlobalParameters(
        run="run", version=0, rounds=1, plan=TrainingPlan(steps=1, threads=1), encoding="float32"
    )
    chunks = cut(encode_tensors(message, task.network().state_dict()))
    assembly = Assembly(chunks[0].place, LIMITS)
    for chunk in chunks:
        assembly.add(chunk.place, chunk.body)
    version = Version("run", 1, 0, chunks[0].place.whole.digest, len(chunks), assembly)
    delivered: queue.Queue[object] = queue.Queue()
    made = WorkSlot(
        task,
        Trainer(task, "ann"),
        participant="ann",
        state=StateFolder(folder, LIMITS),
        desk=desk,  # type: ignore[arg-type] - the two methods that a slot calls
        chunk_bytes=chunk_bytes,
        deliver=delivered.put,
    )
    return made, version, delivered

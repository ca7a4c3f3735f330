"""A training worker that trains the digits for one step, over a channel without a broker."""

import queue
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fanfold.learning import load_task
from fanfold.participant.state_folder import StateFolder
from fanfold.participant.trainer import Trainer
from fanfold.participant.training_worker import TrainingWorker
from fanfold.participant.version import Version
from fanfold.schemas.border import IN_CLEAR
from fanfold.schemas.chunking import Assembly, cut
from fanfold.schemas.messages import GlobalParameters, TrainingPlan
from fanfold.schemas.reader_limits import ReaderLimits
from fanfold.schemas.tensor_codec import encode_tensors

LIMITS = ReaderLimits(max_bytes=1 << 20)


class FakeChannel:
    """Takes every update."""

    border = IN_CLEAR

    def __init__(self) -> None:
        self.published = 0

    def publish_update(self, chunks: Any, confirmed: Callable[[int], None]) -> None:
        for chunk in chunks:
            self.published += 1
            confirmed(chunk.header.index)

    def give_up_update(self) -> None:
        pass


def worker_over(
    folder: Path | None, channel: FakeChannel, *, chunk_bytes: int = 1 << 20
) -> tuple[TrainingWorker, Version, "queue.Queue[object]"]:
    """A slot that is asked to train the digits for a step, and what it delivers."""
    task = load_task("digits")()
    delivered: queue.Queue[object] = queue.Queue()
    made = TrainingWorker(
        task,
        Trainer(task, "ann"),
        participant="ann",
        state=StateFolder(folder, LIMITS),
        channel=channel,
        chunk_bytes=chunk_bytes,
        deliver=delivered.put,
    )
    return made, version_of(0, "float32"), delivered


def version_of(number: int, encoding: str) -> Version:
    """A version of the digits' network that asks for updates in this encoding."""
    message = GlobalParameters(
        run="run",
        version=number,
        rounds=9,
        plan=TrainingPlan(steps=1, threads=1),
        encoding=encoding,
    )
    chunks = cut(encode_tensors(message, load_task("digits")().network().state_dict()))
    assembly = Assembly(chunks[0].header, LIMITS)
    for chunk in chunks:
        assembly.add(chunk.header, chunk.body)
    return Version("run", 1, number, chunks[0].header.whole.digest, len(chunks), assembly)

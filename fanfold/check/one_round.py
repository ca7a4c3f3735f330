"""One round of one participant, with the messages and the bytes of a federation."""

import time

from fanfold.check.settings import CheckSettings
from fanfold.coordinator.aggregation.initial_model import InitialModel
from fanfold.coordinator.aggregation.run_state import RunState
from fanfold.learning import (
    Metrics,
    Task,
    dataset_length,
    metrics_of,
    named_tensors,
    read_data,
    replace_tensors,
    shared_tensors,
    stage,
    without_caches,
)
from fanfold.participant.trainer import TrainedUpdate, Trainer
from fanfold.schemas.chunking import cut
from fanfold.schemas.error_feedback import encode_update
from fanfold.schemas.errors import InvalidInputError
from fanfold.schemas.message_codec import Encoded, received
from fanfold.schemas.messages import GlobalParameters, Update
from fanfold.schemas.tensor_codec import decode_tensors, encode_tensors

NAME = "check"
"""Of the run, and of its participant."""


def train(
    trainer: Trainer, run: RunState, settings: CheckSettings
) -> tuple[Encoded, TrainedUpdate, float]:
    """Return version 0 as it travels, what training makes of it, and when that began.

    The time is in seconds of the monotonic clock.

    Raises:
        LearningError: if it cannot be trained.
    """
    message = GlobalParameters(
        run=NAME, version=0, rounds=1, plan=settings.plan(), frozen=run.origin.frozen
    )
    version = encode_tensors(message, run.tensors, kinds=run.kinds)
    base = decode_tensors(received(version))
    began = time.monotonic()
    trained = trainer.train(base, version=0, plan=message.plan, frozen=message.frozen)
    return version, trained, began


def send(
    run: RunState, trained: TrainedUpdate, version: Encoded, settings: CheckSettings
) -> Encoded:
    """Encode, decode, judge and fold the update, and close the round; return it as it travels.

    Raises:
        InvalidInputError: if a coordinator would refuse it.
    """
    digest = cut(version)[0].header.whole.digest
    run.announced(digest)
    update = Update(
        run=NAME,
        participant=NAME,
        base_version=0,
        base_digest=digest,
        num_examples=trained.num_examples,
        metrics=dict(trained.metrics),
    )
    encoded, _ = encode_update(
        update, trained.tensors, {}, kinds=trained.kinds, encoding=settings.encoding
    )
    decoded = received(encoded)
    tensors = decode_tensors(decoded)
    kinds = {entry.name: entry.kind for entry in decoded.entries}
    refusal = run.judge(update, digest) or run.inspect(tensors, kinds)
    if refusal is not None:
        raise InvalidInputError(f"the coordinator would refuse the update: {refusal}")
    run.fold(update, tensors, digest)
    run.close_round()
    return encoded


def evaluate(
    task: Task, model: InitialModel, run: RunState
) -> tuple[Metrics, int | None, float | None]:
    """Return metrics, examples and seconds of the held-out data; none where there are none."""
    data = read_data(task, task.test_data)
    is_whole = len(named_tensors(model.network)) == len(model.tensors) + len(model.form.frozen)
    if data is None or not is_whole:
        return {}, None, None
    began = time.monotonic()
    shared = shared_tensors(model.network, task.shared)
    replace_tensors(shared, without_caches(run.tensors, shared))
    with stage("evaluating"):
        metrics = metrics_of(task.evaluate(model.network, data))
    return metrics, dataset_length(data), time.monotonic() - began

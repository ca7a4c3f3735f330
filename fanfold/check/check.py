"""Checks a task: one round of one participant in this process, without a broker.

Everything is what a federation does: the same classes build the network, train, encode, decode,
judge, aggregate and evaluate.
"""

import resource
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import torch

from fanfold.check import notes
from fanfold.check.batch import described
from fanfold.check.settings import CheckSettings
from fanfold.check.tensors import check_dtypes, groups_of
from fanfold.check.time_limit import TimeLimit
from fanfold.coordinator.aggregation.initial_model import InitialModel, initial_model
from fanfold.coordinator.aggregation.optimizer_spec import parse_optimizer
from fanfold.coordinator.aggregation.refusals import UpdateLimits
from fanfold.coordinator.aggregation.run_state import RunState
from fanfold.coordinator.aggregation.staleness import parse_staleness
from fanfold.learning import (
    Metrics,
    Task,
    TaskError,
    build_network,
    dataset_length,
    loaded_beside,
    local_device,
    make_task,
    metrics_of,
    named_tensors,
    read_data,
    replace_tensors,
    seeded,
    shared_tensors,
    stage,
    task_sha256_if_any,
    without_caches,
)
from fanfold.participant.trainer import TrainedUpdate, Trainer
from fanfold.schemas.chunking import cut
from fanfold.schemas.error_feedback import encode_update
from fanfold.schemas.errors import InvalidInputError
from fanfold.schemas.events.commands import Checked, Checking
from fanfold.schemas.events.event import Say
from fanfold.schemas.message_codec import Encoded, received
from fanfold.schemas.messages import GlobalParameters, Update
from fanfold.schemas.tensor_codec import decode_tensors, encode_tensors

NAME = "check"


@dataclass(slots=True)
class _Watch:
    """What the task does while it trains."""

    batch: str = "-"
    stops_asked: int = 0
    steps_per_epoch: int = 0
    ended: list[float] = field(default_factory=list)
    """When each step ended, on the monotonic clock."""
    told: dict[str, None] = field(default_factory=dict)

    def should_stop(self) -> bool:
        """Note that somebody asked; never stop."""
        self.stops_asked += 1
        return False

    def on_step(self, _step: int, _steps: int, _loss: Any) -> None:
        """Note a step."""
        self.ended.append(time.monotonic())

    def note(self, sentence: str) -> None:
        """Note what the training decided by itself."""
        self.told[sentence] = None


def check(settings: CheckSettings, *, say: Say) -> Checked:
    """Check a task.

    Args:
        settings: the task, and how it would be trained.
        say: is told what is done next, for people who wait.

    Raises:
        LearningError: it cannot be trained, and the sentence says why.
        FanfoldError: likewise.
    """
    limit = TimeLimit(settings.limit_seconds)

    def begin(doing: str) -> None:
        say(Checking(doing))
        limit.begin(doing)

    with limit.watching():
        return _check(settings, begin)


def _check(settings: CheckSettings, begin: Callable[[str], None]) -> Checked:
    begin("loading the task")
    source_sha256, before = task_sha256_if_any(settings.task), set(sys.modules)
    task = make_task(settings.task, settings.data, seed=settings.seed)
    beside = loaded_beside(settings.task, before) if source_sha256 else []
    watch = _Watch()
    device = local_device(settings.device)
    task.execution = replace(
        task.execution,
        device=device,
        should_stop=watch.should_stop,
        on_step=watch.on_step,
        on_note=watch.note,
    )
    _watch_batches(task, watch)
    begin("building the network")
    model = initial_model(task, settings.seed, lora=settings.lora)
    check_dtypes(model)
    _check_sameness(settings, model)
    begin("reading the data")
    trainer = Trainer(task, NAME, seed=settings.seed)
    groups = groups_of(model, model.network)
    run = RunState(
        run_id=NAME,
        tensors=model.tensors,
        kinds=model.kinds,
        staleness=parse_staleness("constant"),
        optimizer=parse_optimizer("sgd:lr=1"),
        limits=UpdateLimits(),
    )
    run.leave_frozen(model.form.frozen_sha256)
    begin(f"training {settings.steps} steps")
    version, trained, began = _train(trainer, run, settings)
    is_stoppable = watch.stops_asked > 0
    update = _send(run, trained, version, settings)
    begin("evaluating")
    metrics, held_out, seconds = _evaluate(task, model, run)
    steps = settings.steps or 1
    ended = watch.ended or [began + trained.seconds]
    loss = trained.history[-1].get("loss") if trained.history else None
    deltas = {name: each for name, each in trained.tensors.items() if model.kinds[name] == "delta"}
    return Checked(
        task=settings.task,
        device=str(device),
        groups=tuple(asdict(group) for group in groups),
        examples=trainer.num_examples,
        held_out_examples=held_out,
        validation_examples=trainer.num_validation_examples,
        batch=watch.batch,
        bytes_down=version.num_bytes,
        bytes_up=update.num_bytes,
        seconds_per_step=_per_step(began, ended, steps),
        steps_per_epoch=-(-trainer.num_examples // settings.batch_size),
        evaluation_seconds=seconds,
        loss=loss,
        metrics=dict(metrics),
        memory_bytes=_memory(device),
        notes=(
            *watch.told,
            *notes.of_the_network(model),
            *notes.of_the_task(task, model, is_stoppable=is_stoppable),
            *notes.of_the_training(deltas, loss, steps),
            *notes.of_the_measures(held_out, trainer.num_validation_examples),
            *notes.of_the_source(beside),
        ),
        task_sha256=source_sha256,
    )


def _watch_batches(task: Task, watch: _Watch) -> None:
    process = task.process_batch

    def process_batch(network: Any, batch: Any) -> Any:
        if watch.batch == "-":
            watch.batch = described(batch)
        return process(network, batch)

    vars(task)["process_batch"] = process_batch


def _check_sameness(settings: CheckSettings, model: InitialModel) -> None:
    """Refuse a network whose form follows the participant's data: nobody else's fits it."""
    shares = {"partition_index": 1, "num_partitions": 2}
    try:
        other = make_task(settings.task, settings.data, seed=settings.seed, **shares)
    except TaskError:
        return  # data that does not divide, or a task that takes no partition
    with seeded(settings.seed):
        theirs = named_tensors(build_network(other))
    ours = named_tensors(model.network)
    different = [
        name
        for name in (*ours, *(name for name in theirs if name not in ours))
        if name not in ours or name not in theirs or ours[name].shape != theirs[name].shape
    ]
    if different:
        raise TaskError(
            f"two participants build different networks: {', '.join(different[:3])} differ. "
            "Decide the number of classes and all sizes for everybody, not from the own data"
        )


def _train(
    trainer: Trainer, run: RunState, settings: CheckSettings
) -> tuple[Encoded, TrainedUpdate, float]:
    message = GlobalParameters(
        run=NAME, version=0, rounds=1, plan=settings.plan(), frozen=run.origin.frozen
    )
    version = encode_tensors(message, run.tensors, kinds=run.kinds)
    base = decode_tensors(received(version))
    began = time.monotonic()
    trained = trainer.train(base, version=0, plan=message.plan, frozen=message.frozen)
    return version, trained, began


def _send(
    run: RunState, trained: TrainedUpdate, version: Encoded, settings: CheckSettings
) -> Encoded:
    """Encode, decode, judge and fold the update, and close the round."""
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


def _evaluate(
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


def _per_step(began: float, ended: list[float], steps: int) -> float:
    """Return the seconds of a step; the first one is slower, and left out where there are more."""
    if len(ended) > 1:
        return (ended[-1] - ended[0]) / (len(ended) - 1)
    return (ended[-1] - began) / steps


def _memory(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak << 10

"""Checks a task: one round of one participant in this process, without a broker.

Everything is what a federation does: the same classes build the network, train, encode, decode,
judge, aggregate and evaluate.
"""

import resource
import sys
from collections.abc import Callable
from dataclasses import asdict, replace

import torch

from fanfold.check import notes
from fanfold.check.one_round import NAME, evaluate, send, train
from fanfold.check.settings import CheckSettings
from fanfold.check.tensors import check_dtypes, groups_of
from fanfold.check.time_limit import TimeLimit
from fanfold.check.watch import Watch
from fanfold.coordinator.aggregation.initial_model import InitialModel, initial_model
from fanfold.coordinator.aggregation.optimizer_spec import parse_optimizer
from fanfold.coordinator.aggregation.refusals import UpdateLimits
from fanfold.coordinator.aggregation.run_state import RunState
from fanfold.coordinator.aggregation.staleness import parse_staleness
from fanfold.learning import (
    TaskError,
    build_network,
    loaded_beside,
    local_device,
    make_task,
    named_tensors,
    seeded,
    task_sha256_if_any,
)
from fanfold.participant.trainer import Trainer
from fanfold.schemas.events.commands import Checked, Checking
from fanfold.schemas.events.event import Say


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
    watch = Watch()
    device = local_device(settings.device)
    task.execution = replace(
        task.execution,
        device=device,
        should_stop=watch.should_stop,
        on_step=watch.on_step,
        on_note=watch.note,
    )
    watch.see_batches(task)
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
    version, trained, began = train(trainer, run, settings)
    is_stoppable = watch.stops_asked > 0
    update = send(run, trained, version, settings)
    begin("evaluating")
    metrics, held_out, seconds = evaluate(task, model, run)
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

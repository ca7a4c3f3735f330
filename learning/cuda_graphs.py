"""Steps that are recorded once, as CUDA graphs, and replayed for every later batch of their form.

A step of a small network is some sixty kernels of a few microseconds each: Python takes longer to
launch them than the device to run them. A replay launches all of them at once. What is recorded is
what the device does and not what Python does, so a step must not take another course from batch to
batch: people ask for this, and nobody gets it unasked.
"""

import gc
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.optim import SGD, Optimizer

from fanfold.learning.errors import LearningError
from fanfold.learning.measures import Measured
from fanfold.learning.step import Step

WARM_UP_STEPS = 3
"""Steps before a recording: libraries choose their algorithms, optimizers make their state."""
MOST_RECORDINGS = 4
"""Forms of batches that are recorded; each recording holds the memory of a step."""

Run = Callable[[Any], Measured]


class Recorder(Protocol):
    """Runs and records steps; see `CudaRecorder`."""

    def run(self, step: Step, batch: Any) -> Measured:
        """Take a step on a batch as it is."""
        ...

    def record(self, step: Step, batch: Any) -> Run:
        """Return what takes the same step on any batch of that form; take none now."""
        ...


class Replays:
    """A step that is recorded for forms of batches that come more than a few times."""

    def __init__(self, step: Step, recorder: Recorder) -> None:
        self._step = step
        self._recorder = recorder
        self._seen: Counter[Any] = Counter()
        self._recordings: dict[Any, Run] = {}

    def __call__(self, batch: Any) -> Measured:
        """Take one step; the metrics hold until the next one."""
        form = form_of(batch)
        if (replay := self._recordings.get(form)) is not None:
            return replay(batch)
        self._seen[form] += 1
        is_early = self._seen[form] <= WARM_UP_STEPS
        if form is None or is_early or len(self._recordings) >= MOST_RECORDINGS:
            return self._recorder.run(self._step, batch)
        self._recordings[form] = self._recorder.record(self._step, batch)
        return self._recordings[form](batch)


class CudaRecorder:
    """Records steps as CUDA graphs.

    Args:
        optimizer: is told to keep its state on the device.
        is_gathered: batches are in memory of their own that nobody else writes to.

    Raises:
        LearningError: if the optimizer computes on the CPU as well, which no graph holds.
    """

    def __init__(self, optimizer: Optimizer, *, is_gathered: bool = False) -> None:
        self._is_gathered = is_gathered
        # SGD knows no `capturable` and needs none: its state is made by its first step, and from
        # then on a step is arithmetic with tensors and fixed numbers.
        if "capturable" in optimizer.defaults:
            for group in optimizer.param_groups:
                group["capturable"] = True
        elif not isinstance(optimizer, SGD):
            raise LearningError(
                f"{type(optimizer).__name__} computes on the CPU in every step, which a CUDA graph "
                "does not hold; leave --cuda-graphs out, or choose another --optimizer"
            )
        self._stream = torch.cuda.Stream()

    def run(self, step: Step, batch: Any) -> Measured:
        """Take a step on the stream that records: what is made there can be recorded later."""
        with self._on_stream():
            return step(batch)

    def record(self, step: Step, batch: Any) -> Run:
        """Return the graph of a step, for batches of that form.

        Raises:
            LearningError: if the step waits for the device, as reading a value does, or a parameter
                has its first gradient in it.
        """
        held = batch if self._is_gathered else _copy(batch)
        made = state_of(step.optimizer)
        step.optimizer.zero_grad()  # so that the graph makes gradients of its own
        graph = torch.cuda.CUDAGraph()
        with _no_collection(), self._on_stream():
            # Other threads may use the device meanwhile: an evaluation, another participant.
            graph.capture_begin(capture_error_mode="thread_local")
            try:
                measured = step(held)
            except RuntimeError as error:
                with suppress(RuntimeError):  # a recording that failed is over, and says so again
                    graph.capture_end()
                raise LearningError(
                    "a step cannot be recorded as a CUDA graph, because something in it waits for "
                    f"the device, such as `item()`: {str(error).splitlines()[0]}; leave "
                    "--cuda-graphs out"
                ) from error
            graph.capture_end()
        check_nothing_began(step.optimizer, made)

        def replay(batch: Any) -> Measured:
            for mine, its in zip(_tensors(held), _tensors(batch), strict=True):
                if its.data_ptr() != mine.data_ptr():  # else it was gathered right there
                    mine.copy_(its)
            graph.replay()
            loss, metrics = measured
            return loss.clone(), metrics  # whoever hears of steps may keep their losses

        return replay

    @contextmanager
    def _on_stream(self) -> Iterator[None]:
        was_searching = torch.backends.cudnn.benchmark
        torch.backends.cudnn.benchmark = True  # what is found once serves every replay
        self._stream.wait_stream(torch.cuda.current_stream())
        try:
            with torch.cuda.stream(self._stream):
                yield
        finally:
            torch.backends.cudnn.benchmark = was_searching
        torch.cuda.current_stream().wait_stream(self._stream)


def state_of(optimizer: Optimizer) -> dict[tuple[int, str], int]:
    """Return where the tensors of an optimizer's state are, by parameter (its id) and name."""
    return {
        (id(parameter), name): value.data_ptr()
        for parameter, values in optimizer.state.items()
        for name, value in values.items()
        if isinstance(value, Tensor)
    }


def check_nothing_began(optimizer: Optimizer, before: dict[tuple[int, str], int]) -> None:
    """Refuse a recording in which the optimizer made state: each replay would make it anew.

    Momentum would be the newest gradient alone, without an error.

    Args:
        optimizer: which took part in the recording.
        before: `state_of` it before.

    Raises:
        LearningError: if any of its state is new, or lies elsewhere.
    """
    if state_of(optimizer) != before:
        raise LearningError(
            "a step cannot be recorded as a CUDA graph, because in it a parameter had its first "
            f"gradient, and {type(optimizer).__name__} began with it: each step must use the same "
            "parameters; leave --cuda-graphs out"
        )


def form_of(batch: Any) -> Any:
    """Return what two batches have in common if one recording serves both; None if none can.

    That is names, order, shapes and dtypes of tensors in tuples, lists and dicts. A recording holds
    no other values, such as texts.
    """
    if isinstance(batch, Tensor):
        return (tuple(batch.shape), batch.dtype, batch.device)
    if type(batch) not in {tuple, list, dict}:
        return None
    names = tuple(batch) if isinstance(batch, dict) else type(batch)
    parts = [form_of(part) for part in _parts(batch)]
    return None if None in parts else (names, *parts)


def _parts(batch: Any) -> list[Any]:
    return list(batch.values() if isinstance(batch, Mapping) else batch)


def _tensors(batch: Any) -> Iterator[Tensor]:
    if isinstance(batch, Tensor):
        yield batch
        return
    for part in _parts(batch):
        yield from _tensors(part)


def _copy(batch: Any) -> Any:
    if isinstance(batch, Tensor):
        return batch.clone()
    if isinstance(batch, Mapping):
        return {name: _copy(part) for name, part in batch.items()}
    return type(batch)(_copy(part) for part in batch)


@contextmanager
def _no_collection() -> Iterator[None]:
    """Keep Python from freeing another graph in the middle of a recording, which would end it."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()

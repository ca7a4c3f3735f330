"""How one machine carries out a training: device, speed, stopping and progress."""

import logging
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Execution:
    """What each participant decides for itself: how a training runs, not what is trained.

    Stored as `task.execution`. The participant replaces it before it calls `task.fit`; so the
    device, the request to stop and the reports of progress reach the training.
    """

    device: torch.device | None = None
    """The device to train on; None is the one that holds the network's parameters."""
    bfloat16: bool = False
    """Compute under bfloat16 autocast; the parameters stay as they are."""
    channels_last: bool = False
    """Store images in memory as NHWC, the layout in which tensor cores convolve fastest."""
    compiled: bool = False
    """Compile the network with `torch.compile`: a slow first step, faster ones after it."""
    cuda_graphs: bool = False
    """Record a step on a CUDA device and replay it; see `fanfold.learning.cuda_graphs`."""
    resident_bytes: int = 2 * 2**30
    """Data up to this size is copied to the device once, as a whole; larger data by the batch."""
    loader_workers: int = 0
    """Processes that load a dataset which is not made of tensors."""
    should_stop: Callable[[], bool] | None = None
    """Called between batches; if it returns True, `TrainingAbandoned` is raised."""
    on_step: Callable[[int, int, Tensor], None] | None = None
    """Called after every step as (step, steps, loss).

    Reading the value of the 0-dim tensor `loss` waits for the device: do it seldom.
    """
    on_note: Callable[[str], None] | None = None
    """Called with a sentence about what training decided by itself; the same one may come again."""

    def note(self, sentence: str) -> None:
        """Says what training decided by itself: to whoever listens, or else to the log."""
        if self.on_note is None:
            logger.warning("%s", sentence)
        else:
            self.on_note(sentence)


PLAIN = Execution()
"""The defaults: on the network's own device, in full precision, without progress or stopping."""

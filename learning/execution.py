"""How one machine carries out a training: where, how fast, and who is watching."""

import logging
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Execution:
    """What a participant decides for itself; none of it changes what is trained.

    A task carries one as `task.execution`. The participant replaces it before it calls `task.fit`,
    which is how the device, the request to stop and the reports of progress reach the training.
    """

    device: torch.device | None = None
    """Where to train; None is where the network's parameters are."""
    bfloat16: bool = False
    """Compute under bfloat16 autocast; the parameters stay as they are."""
    channels_last: bool = False
    """Lay images out as NHWC, which tensor cores prefer for convolutions."""
    compiled: bool = False
    """Compile the network with `torch.compile`: a slow first step, faster ones after it."""
    resident_bytes: int = 2 * 2**30
    """Data up to this size is moved to the device once, as a whole; larger data batch by batch."""
    loader_workers: int = 0
    """Processes that load a dataset which is not made of tensors."""
    should_stop: Callable[[], bool] | None = None
    """Asked between batches; True raises `TrainingAbandoned`."""
    on_step: Callable[[int, int, Tensor], None] | None = None
    """Called after every step as (step, steps, loss).

    Reading the 0-dim `loss` waits for the device: do it seldom.
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
"""Where the network is, in full precision, with nobody watching."""

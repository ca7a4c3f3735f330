"""Seeds that follow from run, version and participant: the same training gives the same update."""

import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from hashlib import sha256
from typing import Any

import torch

_SPARE: list[Any] = []
"""Numpy's generators that no training uses now: as many as were ever within each other."""


def training_seed(run_seed: int, base_version: int, participant_id: str) -> int:
    """Return the seed of one participant's training on one version, in 0 .. 2**63 - 1.

    Example:
        >>> training_seed(0, 1, "alice") == training_seed(0, 1, "alice")
        True
        >>> training_seed(0, 1, "alice") == training_seed(0, 2, "alice")
        False
    """
    digest = sha256(f"{run_seed}/{base_version}/{participant_id}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


@contextmanager
def seeded(seed: int, threads: int | None = None) -> Iterator[None]:
    """Seed torch (accelerators too), `random` and, where loaded, numpy; set torch's threads.

    Enter it in the thread that computes: the number of threads belongs to the calling thread, the
    generators to the process. So a process runs one seeded training at a time, and no other thread
    may draw from these generators (one that needs jitter keeps a `random.Random` of its own). The
    former state is restored at the end, except for the generators of accelerators, and the second
    of a pair of normal values that numpy may have kept.

    Args:
        seed: in 0 .. 2**63 - 1.
        threads: CPU threads of torch; None leaves the number as it is. Sums are added in another
            order with another number of threads, so their last bits may differ.
    """
    threads_before = torch.get_num_threads()
    python_before = random.getstate()
    numpy = sys.modules.get("numpy")  # a task that draws from numpy has imported it by now
    numpy_before = numpy.random.get_bit_generator() if numpy else None
    # To put another one in its place costs 4 us; to save its state and restore it, 100 us.
    ours = numpy and (_SPARE.pop() if _SPARE else numpy.random.MT19937())
    torch_before = torch.get_rng_state()
    _seed_torch(seed)
    random.seed(seed)
    if numpy:
        numpy.random.set_bit_generator(ours)
        numpy.random.seed(seed % 2**32)
    if threads is not None:
        torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(threads_before)
        random.setstate(python_before)
        if numpy:
            numpy.random.set_bit_generator(numpy_before)
            _SPARE.append(ours)
        torch.set_rng_state(torch_before)


def _seed_torch(seed: int) -> None:
    """Seed torch without `torch.manual_seed` where there is no accelerator.

    There it formats three stack traces that nobody reads, which costs time in every training.
    """
    if _has_accelerator():
        torch.manual_seed(seed)
    else:
        torch.default_generator.manual_seed(seed)


@cache
def _has_accelerator() -> bool:
    return torch.accelerator.is_available()

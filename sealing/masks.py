"""The arithmetic of masks: integers that hide an update, and that a sum of them can be freed of.

A mask of N words is the AES-256-CTR keystream of a seed: the seed is the key, the first counter
block is 16 zero bytes, and each 4 bytes are one word, little endian. An update of words q travels
as

    y = q + mask(seed) [+ mask(seed) of further seeds]        modulo 2^32

so that the sum of y less the sum of all masks is the sum of q, whatever the order. The words of an
update are those of its tensors one after the other, each in C order.

Three keepers hold three seeds: each holds all but the one of its own place, so that any two of them
hold all, and one of them alone never does.
"""

import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR

Words: TypeAlias = npt.NDArray[np.uint32]
"""uint32, one dimension, contiguous."""

SEED_BYTES = 32
_BLOCK_WORDS = AES.block_size // 32
_STREAM_WORDS = 1 << 16
"""Words that are generated at a time: they stay in the processor's cache."""
_ZEROS = memoryview(bytes(4 * _STREAM_WORDS))


def seeds_held(keeper: int, num_keepers: int) -> tuple[int, ...]:
    """Return which seeds the keeper in this place holds, counted from 0.

    Example:
        >>> [seeds_held(keeper, 3) for keeper in range(3)]
        [(1, 2), (0, 2), (0, 1)]
    """
    if num_keepers == 1:
        return (0,)
    return tuple(seed for seed in range(num_keepers) if seed != keeper)


def add_mask(pieces: Sequence[Words], seed: bytes) -> None:
    """Add the mask of a seed in place, modulo 2^32, to words that lie in several pieces.

    Args:
        pieces: the words of one update, in their order.
        seed: `SEED_BYTES` random bytes.
    """
    _add_stream(pieces, seed, first_block=0)


def sum_of_masks(seeds: Iterable[bytes], num_words: int) -> Words:
    """Return the sum of the masks of seeds: `num_words` words, modulo 2^32.

    Each part of it is summed by a thread of its own.
    """
    seeds = list(seeds)
    total = np.zeros(num_words, dtype=np.uint32)

    def sum_part(begin: int) -> None:
        for block in range(begin, min(begin + part, num_words), _STREAM_WORDS):
            here = total[block : min(block + _STREAM_WORDS, begin + part)]
            for seed in seeds:
                _add_stream([here], seed, first_block=block // _BLOCK_WORDS)

    threads = max(1, min(os.cpu_count() or 1, num_words // _STREAM_WORDS))
    part = -(-num_words // (threads * _STREAM_WORDS)) * _STREAM_WORDS
    with ThreadPoolExecutor(threads) as pool:
        for done in pool.map(sum_part, range(0, num_words, part)):
            assert done is None  # asked for, so that an exception is raised here
    return total


def _add_stream(pieces: Sequence[Words], seed: bytes, *, first_block: int) -> None:
    """Add the keystream of a seed, from one of its blocks of 16 bytes on."""
    counter = first_block.to_bytes(AES.block_size // 8, "big")
    encryptor = Cipher(AES(seed), CTR(counter)).encryptor()
    stream = bytearray(4 * _STREAM_WORDS + AES.block_size // 8)  # as the library asks for
    for piece in pieces:
        for begin in range(0, len(piece), _STREAM_WORDS):
            block = piece[begin : begin + _STREAM_WORDS]
            encryptor.update_into(_ZEROS[: block.nbytes], stream)
            block += np.frombuffer(stream, "<u4", len(block))

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

from collections.abc import Iterable, Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR

Words: TypeAlias = npt.NDArray[np.uint32]
"""uint32, one dimension, contiguous."""

SEED_BYTES = 32
_BLOCK_BYTES = 1 << 20
_ZEROS = bytes(_BLOCK_BYTES)


def seeds_held(keeper: int, num_keepers: int) -> tuple[int, ...]:
    """Return which seeds the keeper in this place holds, counted from 0.

    Example:
        >>> [seeds_held(keeper, 3) for keeper in range(3)]
        [(1, 2), (0, 2), (0, 1)]
    """
    if num_keepers == 1:
        return (0,)
    return tuple(seed for seed in range(num_keepers) if seed != keeper)


def add_mask(words: Words, seed: bytes) -> None:
    """Add the mask of a seed to words in place, modulo 2^32."""
    encryptor = Cipher(AES(seed), CTR(bytes(AES.block_size // 8))).encryptor()
    stream = bytearray(_BLOCK_BYTES + AES.block_size // 8)  # as the library asks for
    for begin in range(0, len(words), _BLOCK_BYTES // 4):
        block = words[begin : begin + _BLOCK_BYTES // 4]
        encryptor.update_into(memoryview(_ZEROS)[: block.nbytes], stream)
        block += np.frombuffer(stream, "<u4", len(block))


def sum_of_masks(seeds: Iterable[bytes], num_words: int) -> Words:
    """Return the sum of the masks of seeds: `num_words` words, modulo 2^32."""
    total = np.zeros(num_words, dtype=np.uint32)
    for seed in seeds:
        add_mask(total, seed)
    return total


def flat(tensors: Sequence[npt.NDArray[np.int32]]) -> Words:
    """Return the words of tensors, one after the other, as one new array."""
    pieces = [np.ascontiguousarray(each).reshape(-1).view(np.uint32) for each in tensors]
    return np.concatenate(pieces) if pieces else np.zeros(0, np.uint32)

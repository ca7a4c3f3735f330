"""The arithmetic of masks, held against numbers that `openssl enc -aes-256-ctr` made."""

import numpy as np
import pytest

from fanfold.sealing.masks import add_mask, sum_of_masks

UPDATES = {
    "a": ((0.5, -0.25, 1, 0), (0x10, 0x11, 0x12)),
    "b": ((-1.5, 0.125, 0.75, 2), (0x20, 0x21, 0x22)),
    "c": ((0.25, 0.25, -0.5, -1), (0x30, 0x31, 0x32)),
}
"""Values, and the byte that each of three seeds repeats 32 times."""
WITH_THREE = {
    "a": (4049111954, 4061597909, 3893965001, 973611157),
    "b": (1718516933, 588501393, 3416013983, 484239921),
    "c": (1584629667, 2377672353, 3986441145, 2420881809),
}
WITH_ONE = {
    "a": (1960727135, 2427674804, 1630365714, 3612189042),
    "b": (472533484, 2220354634, 3830279198, 215561959),
    "c": (249744443, 3053553215, 3120767642, 3761997652),
}


@pytest.mark.parametrize(("sent", "num_seeds"), [(WITH_THREE, 3), (WITH_ONE, 1)])
def test_the_vector_of_the_protocol(sent: dict[str, tuple[int, ...]], num_seeds: int) -> None:
    """Scale 2^16: what each sends, and the sum that is left when the masks are taken away."""
    total = np.zeros(4, np.uint32)
    seeds = []
    for name, (values, own) in UPDATES.items():
        words = np.array([round(value * 65536) for value in values], np.int32).view(np.uint32)
        for byte in own[:num_seeds]:
            seeds.append(bytes([byte]) * 32)
            add_mask([words], seeds[-1])
        assert tuple(words.tolist()) == sent[name]
        total += words
    total -= sum_of_masks(seeds, 4)
    assert total.view(np.int32).tolist() == [-49152, 8192, 81920, 65536]


def test_a_mask_that_is_added_can_be_taken_away() -> None:
    """Over several blocks of the generator, and where the last one is not whole."""
    words = np.arange(600_001, dtype=np.uint32)
    add_mask([words], bytes(range(32)))
    assert len(np.unique(words)) > 599_000  # no block is used twice
    words -= sum_of_masks([bytes(range(32))], len(words))
    assert np.array_equal(words, np.arange(600_001, dtype=np.uint32))


def test_a_mask_goes_on_from_one_tensor_to_the_next() -> None:
    """Wherever its words are divided, in the middle of a block of the generator too."""
    whole = np.zeros(200_000, np.uint32)
    add_mask([whole], bytes(range(32)))
    pieces = [np.zeros(length, np.uint32) for length in (1, 0, 70_001, 2, 129_996)]
    add_mask(pieces, bytes(range(32)))
    assert np.array_equal(np.concatenate(pieces), whole)


@pytest.mark.parametrize("cores", [1, 2, 7, 64])
def test_the_sum_is_the_same_however_many_threads_share_it(
    cores: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The part of each begins where the generator would have come to."""
    monkeypatch.setattr("os.cpu_count", lambda: cores)
    seeds = [bytes([byte]) * 32 for byte in range(3)]
    alone = np.zeros(600_001, np.uint32)
    for seed in seeds:
        add_mask([alone], seed)
    assert np.array_equal(sum_of_masks(seeds, len(alone)), alone)

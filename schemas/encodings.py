"""How a tensor's values are encoded: unchanged, in fewer bits, or only the largest of them.

This module has names and sizes; `quantization` has the arithmetic. Lossy encodings are:

    float16, bfloat16      every value rounded to 16 bits
    int8                   blocks of 256 values, each with a float32 scale and 8-bit codes
    topk:FRACTION          that fraction of the values, largest magnitudes first, with indices
    topk:FRACTION+VALUES   the same, its values written as float16, bfloat16 or int8
"""

import math
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, cast

from fanfold.schemas.errors import InvalidInputError

Values = Literal["raw", "float32", "float16", "bfloat16", "int8"]

BLOCK_VALUES = 256
"""Values that share one int8 scale: 4 bytes in 260, so int8 takes 25.4 % of float32."""
INDEX_BYTES = 4
MAX_INDEXED_VALUES = 2**31 - 1
NARROW = frozenset({"float16", "bfloat16"})
"""The encodings that are dtypes as well: any larger dtype holds their values exactly."""
NARROW_BYTES = 2
LOSSY_DTYPES = frozenset({"float16", "bfloat16", "float32", "float64"})
"""The dtypes that a lossy encoding can encode; all others are sent unchanged."""

_GRAMMAR = re.compile(
    r"raw|float16|bfloat16|int8"
    r"|topk:(?P<fraction>0\.[0-9]{1,6})(?:\+(?P<kept>float16|bfloat16|int8))?"
)


@dataclass(frozen=True, slots=True)
class Encoding:
    """One way to encode a tensor's values. `str()` returns its name in the tensor table."""

    name: str
    values: Values
    fraction: float | None = None
    """The fraction of the values that top-k keeps; None keeps all."""

    @classmethod
    @lru_cache(maxsize=64)  # asked for each tensor of each message; nearly always the same few
    def parse(cls, name: str) -> "Encoding":
        """Return the encoding with this name in the tensor table.

        Raises:
            InvalidInputError: if there is none.
        """
        match = _GRAMMAR.fullmatch(name)
        if match is None or (match["fraction"] and float(match["fraction"]) == 0):
            raise InvalidInputError(
                f"unknown encoding {name[:64]!r}; choose float32, float16, bfloat16, int8, or "
                "topk:FRACTION with a FRACTION such as 0.01, alone or with +float16, +bfloat16 "
                "or +int8"
            )
        if match["fraction"]:
            values = cast("Values", match["kept"] or "float32")
            return cls(name, values, float(match["fraction"]))
        return cls(name, cast("Values", name))

    @classmethod
    def from_setting(cls, setting: str) -> "Encoding":
        """Return the encoding that a setting names, where `float32` means unchanged.

        Raises:
            InvalidInputError: if there is none.
        """
        return RAW if setting == "float32" else cls.parse(setting)

    def __str__(self) -> str:
        return self.name

    def num_kept(self, num_values: int) -> int:
        """Return how many of `num_values` are sent: for top-k, the fraction of them rounded up."""
        return num_values if self.fraction is None else math.ceil(self.fraction * num_values)

    def num_bytes(self, num_values: int, value_bytes: int) -> int:
        """Return the length on the wire of `num_values` values of `value_bytes` each."""
        kept = self.num_kept(num_values)
        indices = 0 if self.fraction is None else INDEX_BYTES * kept
        if self.values == "raw":
            return kept * value_bytes
        if self.values == "int8":
            return indices + 4 * num_blocks(kept) + kept
        return indices + kept * (4 if self.values == "float32" else 2)


RAW = Encoding("raw", "raw")


def num_blocks(num_values: int) -> int:
    """Return how many scales `num_values` int8 codes need."""
    return -(-num_values // BLOCK_VALUES)


DIFFERENCE = "difference:"
"""What a setting begins with where versions travel as differences to the one before."""


def difference_encoding(setting: str) -> Encoding | None:
    """Return the encoding of differences that a setting names; None where versions travel whole.

    Raises:
        InvalidInputError: if there is no such encoding, or differences would save nothing in it.
    """
    if not setting.startswith(DIFFERENCE):
        return None
    name = setting.removeprefix(DIFFERENCE)
    if name in {"raw", "float32"}:
        raise InvalidInputError(
            f"a difference in {name} is as large as the version; choose {DIFFERENCE}int8, "
            f"{DIFFERENCE}topk:FRACTION, {DIFFERENCE}float16 or {DIFFERENCE}bfloat16"
        )
    return Encoding.parse(name)


def whole_encoding(setting: str) -> str:
    """Return how a whole version is encoded: unchanged where differences to it may follow."""
    return "float32" if setting.startswith(DIFFERENCE) else setting

"""The limits on messages that a reader accepts from the network."""

from dataclasses import dataclass

MAX_TENSOR_NAME_BYTES = 512
MAX_DIMENSIONS = 16
MAX_VALUES = 2**53
"""Values in one tensor, zero-length dimensions not counted: strides stay far from overflow."""


@dataclass(frozen=True, slots=True)
class ReaderLimits:
    """A reader's limits, checked against what a message declares before memory is allocated."""

    max_bytes: int
    """Bytes of the whole message, and of its tensors once they are decoded."""
    max_header_bytes: int = 16 * 1024 * 1024
    """Bytes of the header document."""
    max_tensors: int = 100_000
    """Rows of the tensor table."""
    least_chunk_bytes: int = 0
    """Bytes of a chunk, where there are several: each costs the same work, however small."""

"""Facts about the room that a message is put together in."""

import pytest

from fanfold.schemas.chunking import Assembly, MemoryBuffer, cut
from fanfold.schemas.message_codec import encode
from fanfold.schemas.messages import RunFinished
from fanfold.schemas.reader_limits import ReaderLimits

CHUNK = cut(encode(RunFinished(run="r", version=1)))[0]
LIMITS = ReaderLimits(max_bytes=1 << 20)


@pytest.mark.parametrize("difference", [-1, 1])
def test_a_room_must_be_of_the_right_size(difference: int) -> None:
    buffer = MemoryBuffer(memoryview(bytearray(len(CHUNK.body) + difference)))
    with pytest.raises(ValueError, match=f"the buffer is not {len(CHUNK.body)} bytes"):
        Assembly(CHUNK.header, LIMITS, buffer)


def test_a_room_in_memory_must_be_writable() -> None:
    with pytest.raises(ValueError, match="the buffer is not writable"):
        MemoryBuffer(memoryview(bytes(1)))


@pytest.mark.parametrize("num_bytes", [1, 1 << 20, (1 << 20) + 1])
def test_a_copy_of_bytes_is_writable_and_not_the_bytes_themselves(num_bytes: int) -> None:
    body = b"x" * num_bytes
    copied = MemoryBuffer.holding(body).view()
    copied[0] = ord("y")
    assert body == b"x" * num_bytes
    assert bytes(copied) == b"y" + b"x" * (num_bytes - 1)


@pytest.mark.parametrize("num_bytes", [1, 1 << 20, (1 << 20) + 1, 5 << 20])
def test_small_and_large_rooms_hold_what_was_put(num_bytes: int) -> None:
    """Small ones are memory used before, large ones pages that come one by one."""
    buffer = MemoryBuffer.of(num_bytes)
    buffer.put(num_bytes - 1, b"x")
    assert buffer.num_bytes == num_bytes
    assert bytes(buffer.view()) == bytes(num_bytes - 1) + b"x"

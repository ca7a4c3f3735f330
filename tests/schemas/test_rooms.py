"""Facts about the room that a message is put together in."""

import pytest

from schemas.chunks import Assembly, Memory, cut
from schemas.codec import encode
from schemas.limits import Limits
from schemas.messages import RunFinished

CHUNK = cut(encode(RunFinished(run="r", version=1)))[0]
LIMITS = Limits(max_bytes=1 << 20)


@pytest.mark.parametrize("difference", [-1, 1])
def test_a_room_must_be_of_the_right_size(difference: int) -> None:
    room = Memory(memoryview(bytearray(len(CHUNK.body) + difference)))
    with pytest.raises(ValueError, match=f"the room is not {len(CHUNK.body)} bytes"):
        Assembly(CHUNK.place, LIMITS, room)


def test_a_room_in_memory_must_be_writable() -> None:
    with pytest.raises(ValueError, match="the buffer is not writable"):
        Memory(memoryview(bytes(1)))


@pytest.mark.parametrize("num_bytes", [1, 1 << 20, (1 << 20) + 1, 5 << 20])
def test_small_and_large_rooms_hold_what_was_put(num_bytes: int) -> None:
    """Small ones are memory used before, large ones pages that come one by one."""
    room = Memory.of(num_bytes)
    room.put(num_bytes - 1, b"x")
    assert room.num_bytes == num_bytes
    assert bytes(room.view()) == bytes(num_bytes - 1) + b"x"

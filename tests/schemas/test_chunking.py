"""Chunks come in any order, twice, or damaged; the message is whole or is refused."""

import mmap
import random
import tracemalloc
from pathlib import Path

import pytest
from blake3 import blake3
from fuzz_target import GLOBAL_PARAMETERS, UPDATE
from hypothesis import given
from hypothesis import strategies as st

from fanfold.schemas.chunking import (
    Assembly,
    Chunk,
    ChunkHeader,
    MemoryBuffer,
    cut,
)
from fanfold.schemas.errors import InvalidInputError, MalformedMessageError
from fanfold.schemas.message_codec import Encoded, ReaderLimits, TensorBytes, encode

LIMITS = ReaderLimits(max_bytes=1_000_000)


def message(num_bytes: int = 10_000) -> Encoded:
    data = random.Random(1).randbytes(num_bytes)
    tensors = [
        TensorBytes("a", "uint8", (num_bytes,), "value", "raw", memoryview(data)),
        TensorBytes("b", "uint8", (5,), "value", "raw", memoryview(b"12345")),
    ]
    return encode(UPDATE, tensors)


def header(chunk: Chunk, limits: ReaderLimits = LIMITS) -> ChunkHeader:
    return ChunkHeader.parse(chunk.kind, chunk.headers, len(chunk.body), limits)


CHUNKS = cut(message(), chunk_bytes=4096)
WHOLE = b"".join(chunk.body for chunk in CHUNKS)


def changed(**headers: object) -> ChunkHeader:
    """Return the place of the second chunk after some of its headers were changed."""
    chunk = CHUNKS[1]
    return ChunkHeader.parse(chunk.kind, {**chunk.headers, **headers}, len(chunk.body), LIMITS)


@given(
    num_bytes=st.integers(0, 20_000),
    chunk_bytes=st.integers(1024, 30_000),
    order=st.randoms(use_true_random=False),
)
def test_any_message_survives_any_cut_and_any_order(
    num_bytes: int, chunk_bytes: int, order: random.Random
) -> None:
    encoded = message(num_bytes)
    chunks = cut(encoded, chunk_bytes=chunk_bytes)
    assert all(len(chunk.body) == chunk_bytes for chunk in chunks[:-1])
    assert 0 < len(chunks[-1].body) <= chunk_bytes
    assert b"".join(chunk.body for chunk in chunks) == b"".join(encoded.buffers)

    order.shuffle(chunks)
    assembly = Assembly(header(chunks[0]), LIMITS)
    completions = [assembly.add(header(chunk), chunk.body) for chunk in chunks]
    assert completions == [False] * (len(chunks) - 1) + [True]
    assert assembly.decode().message == UPDATE
    assert assembly.whole() == b"".join(encoded.buffers)


def test_a_chunk_within_one_tensor_is_a_view_of_it() -> None:
    data = memoryview(bytes(100_000))
    row = TensorBytes("a", "uint8", (100_000,), "value", "raw", data)
    chunks = cut(encode(UPDATE, [row]), chunk_bytes=1024)
    within = [chunk for chunk in chunks if isinstance(chunk.body, memoryview)]
    assert len(within) >= len(chunks) - 1
    assert all(chunk.body.obj is data.obj for chunk in within[1:-1])


GLOBAL_PARAMETERS_MESSAGE = encode(GLOBAL_PARAMETERS)


def test_the_same_version_in_another_epoch_is_the_same_message() -> None:
    (first,), (again,) = (cut(GLOBAL_PARAMETERS_MESSAGE, epoch=epoch) for epoch in (1, 2))
    assert (header(first).epoch, header(again).epoch) == (1, 2)
    assert header(first).whole == header(again).whole
    assembly = Assembly(header(first), LIMITS)
    assert assembly.add(header(again), again.body)


@pytest.mark.parametrize("chunk_bytes", [-1, 0, 1023, 16 * 1024 * 1024])
def test_chunks_that_a_broker_would_refuse_cannot_be_asked_for(chunk_bytes: int) -> None:
    with pytest.raises(InvalidInputError, match=f"chunk_bytes is {chunk_bytes}; choose 1024 to 16"):
        cut(message(), chunk_bytes=chunk_bytes)


def test_a_chunk_that_comes_twice_changes_nothing() -> None:
    assembly = Assembly(header(CHUNKS[0]), LIMITS)
    for chunk in (CHUNKS[0], CHUNKS[0], CHUNKS[1], CHUNKS[0]):
        assert not assembly.add(header(chunk), chunk.body)
    assert assembly.missing == 1
    assert assembly.add(header(CHUNKS[2]), CHUNKS[2].body)
    assert assembly.add(header(CHUNKS[1]), CHUNKS[1].body)
    assert assembly.whole() == WHOLE


def test_a_body_with_another_digest_is_refused_and_can_come_again() -> None:
    assembly = Assembly(header(CHUNKS[0]), LIMITS)
    with pytest.raises(MalformedMessageError, match="the body of chunk 0 has another digest"):
        assembly.add(header(CHUNKS[0]), bytes(4096))
    for chunk in CHUNKS:
        assembly.add(header(chunk), chunk.body)
    assert assembly.whole() == WHOLE


def test_a_chunk_of_another_message_is_refused() -> None:
    assembly = Assembly(header(CHUNKS[0]), LIMITS)
    for stranger in (changed(version=4), changed(digest="0" * 64), changed(participant="bob")):
        with pytest.raises(MalformedMessageError, match="the chunk belongs to another message"):
            assembly.add(stranger, CHUNKS[1].body)


def test_a_chunk_that_comes_with_two_digests_is_refused() -> None:
    assembly = Assembly(header(CHUNKS[0]), LIMITS)
    assembly.add(header(CHUNKS[1]), CHUNKS[1].body)
    with pytest.raises(MalformedMessageError, match="chunk 1 came with two digests"):
        assembly.add(changed(chunk_blake3="0" * 64), CHUNKS[1].body)


def test_chunks_that_do_not_make_the_announced_whole_are_refused() -> None:
    chunk = cut(GLOBAL_PARAMETERS_MESSAGE)[0]
    forged = {**chunk.headers, "digest": "0" * 64}
    forged_place = ChunkHeader.parse(chunk.kind, forged, len(chunk.body), LIMITS)
    with pytest.raises(MalformedMessageError, match="the digest of the whole message is wrong"):
        Assembly(forged_place, LIMITS).add(forged_place, chunk.body)


def test_a_message_that_is_not_what_its_headers_say_is_refused() -> None:
    chunk = cut(GLOBAL_PARAMETERS_MESSAGE)[0]
    forged = {**chunk.headers, "version": 9}
    forged_place = ChunkHeader.parse(chunk.kind, forged, len(chunk.body), LIMITS)
    assembly = Assembly(forged_place, LIMITS)
    assembly.add(forged_place, chunk.body)
    with pytest.raises(MalformedMessageError, match="is not what its chunks' headers say"):
        assembly.decode()


def test_an_incomplete_message_cannot_be_read() -> None:
    assembly = Assembly(header(CHUNKS[0]), LIMITS)
    with pytest.raises(ValueError, match="3 chunks of the message are missing"):
        assembly.whole()


def test_a_message_can_be_received_into_a_file_and_taken_up_again(tmp_path: Path) -> None:
    spool = tmp_path / "spool"
    spool.write_bytes(bytes(len(WHOLE)))
    first = header(CHUNKS[0])
    with spool.open("r+b") as file:
        before = Assembly(first, LIMITS, MemoryBuffer(memoryview(mmap.mmap(file.fileno(), 0))))
        for chunk in CHUNKS[:2]:
            before.add(header(chunk), chunk.body)
    digests = dict(before.received)
    del before
    damaged = bytearray(spool.read_bytes())
    damaged[0] ^= 1

    after = Assembly(first, LIMITS, MemoryBuffer(memoryview(damaged)))
    after.restore(digests)
    assert after.received == {1: digests[1]}
    after.add(header(CHUNKS[2]), CHUNKS[2].body)
    assert after.add(header(CHUNKS[0]), CHUNKS[0].body)
    assert damaged == WHOLE


def test_an_announced_gigabyte_takes_no_memory_until_it_comes() -> None:
    limits = ReaderLimits(max_bytes=2**30)
    body = bytes(2**15)
    size = {"bytes": 2**30, "chunks": 2**15, "chunk_bytes": 2**15}
    headers = {**CHUNKS[1].headers, **size}
    before = resident_bytes()
    tracemalloc.start()
    try:
        announced = ChunkHeader.parse("Update", headers, len(body), limits)
        assembly = Assembly(announced, limits)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert assembly.missing == 2**15
    assert peak < 100_000
    assert resident_bytes() - before < 2**26


def resident_bytes() -> int:
    """Return what this process has in memory, itself and torch included."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * mmap.PAGESIZE


def test_digests_are_those_of_the_page() -> None:
    """BLAKE3 of each body, and of these digests one after the other."""
    digests = [blake3(chunk.body).digest() for chunk in CHUNKS]
    assert [chunk.headers["chunk_blake3"] for chunk in CHUNKS] == [each.hex() for each in digests]
    assert {chunk.headers["digest"] for chunk in CHUNKS} == {blake3(b"".join(digests)).hexdigest()}

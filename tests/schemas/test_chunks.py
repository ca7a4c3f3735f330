"""Chunks come in any order, twice, or damaged; the message is whole or is refused."""

import mmap
import random
import tracemalloc
from pathlib import Path
from types import MappingProxyType

import pytest
from fuzz_target import GLOBAL_PARAMETERS, UPDATE
from hypothesis import given
from hypothesis import strategies as st
from pika import data as amqp

from schemas.chunks import DEFAULT_CHUNK_BYTES, Assembly, Chunk, ChunkPlace, Memory, cut
from schemas.codec import Encoded, Limits, TensorBytes, encode
from schemas.errors import InvalidInputError, MalformedMessageError, UnsupportedProtocolError
from schemas.messages import Goodbye, Hello

LIMITS = Limits(max_bytes=1_000_000)


def message(num_bytes: int = 10_000) -> Encoded:
    data = random.Random(1).randbytes(num_bytes)
    tensors = [
        TensorBytes("a", "uint8", (num_bytes,), "value", "raw", memoryview(data)),
        TensorBytes("b", "uint8", (5,), "value", "raw", memoryview(b"12345")),
    ]
    return encode(UPDATE, tensors)


def place(chunk: Chunk, limits: Limits = LIMITS) -> ChunkPlace:
    return ChunkPlace.parse(chunk.kind, chunk.headers, len(chunk.body), limits)


CHUNKS = cut(message(), chunk_bytes=4096)
WHOLE = b"".join(chunk.body for chunk in CHUNKS)


def changed(**headers: object) -> ChunkPlace:
    """Return the place of the second chunk after some of its headers were changed."""
    chunk = CHUNKS[1]
    return ChunkPlace.parse(chunk.kind, {**chunk.headers, **headers}, len(chunk.body), LIMITS)


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
    assembly = Assembly(place(chunks[0]), LIMITS)
    completions = [assembly.add(place(chunk), chunk.body) for chunk in chunks]
    assert completions == [False] * (len(chunks) - 1) + [True]
    assert assembly.decode().message == UPDATE
    assert assembly.whole() == b"".join(encoded.buffers)


def test_a_chunk_within_one_tensor_is_a_view_of_it() -> None:
    data = memoryview(bytes(100_000))
    row = TensorBytes("a", "uint8", (100_000,), "value", "raw", data)
    chunks = cut(encode(UPDATE, [row]), chunk_bytes=1024)
    within = [chunk for chunk in chunks if isinstance(chunk.body, memoryview)]
    assert len(within) >= len(chunks) - 1
    assert all(chunk.body.obj is data.obj for chunk in within[1:-1])  # type: ignore[union-attr]  # a view


def test_headers_and_message_id_explain_themselves() -> None:
    chunk = cut(GLOBAL_PARAMETERS_MESSAGE, epoch=2)[0]
    assert chunk.headers["epoch"] == 2
    assert chunk.message_id == "run-1/v3/coordinator/GlobalParameters/1-of-1"
    assert CHUNKS[1].message_id == "run-1/v3/alice/Update/2-of-3"
    assert {name: CHUNKS[1].headers[name] for name in ("chunk", "chunks", "chunk_bytes")} == {
        "chunk": 1,
        "chunks": 3,
        "chunk_bytes": 4096,
    }
    labels = {"run": "run-1", "version": 3, "participant": "alice", "examples": 5}
    assert labels.items() <= CHUNKS[1].headers.items()
    assert "epoch" not in CHUNKS[1].headers
    goodbye = cut(encode(Goodbye(participant="alice", instance="1")))[0]
    assert goodbye.message_id == "alice/Goodbye/1-of-1"
    assert chunk.headers["chunk_bytes"] == DEFAULT_CHUNK_BYTES


GLOBAL_PARAMETERS_MESSAGE = encode(GLOBAL_PARAMETERS)


def test_the_same_version_in_another_epoch_is_the_same_message() -> None:
    (first,), (again,) = (cut(GLOBAL_PARAMETERS_MESSAGE, epoch=epoch) for epoch in (1, 2))
    assert (place(first).epoch, place(again).epoch) == (1, 2)
    assert place(first).whole == place(again).whole
    assembly = Assembly(place(first), LIMITS)
    assert assembly.add(place(again), again.body)


def test_headers_survive_amqp_where_large_numbers_come_back_as_pikas_own() -> None:
    hello = Hello(participant="alice", instance="1", num_examples=2**40)
    chunk = cut(encode(hello))[0]
    pieces: list[bytes] = []
    amqp.encode_table(pieces, chunk.headers)
    headers, _ = amqp.decode_table(b"".join(pieces), 0)
    assert type(headers["examples"]) is not int
    assert ChunkPlace.parse("Hello", headers, len(chunk.body), LIMITS) == chunk.place


def test_unknown_headers_are_ignored() -> None:
    assert changed(**{"x-death": [1, {}], "x-received-from": b"\xff"}) == CHUNKS[1].place


@pytest.mark.parametrize("chunk_bytes", [-1, 0, 1023, 16 * 1024 * 1024])
def test_chunks_that_a_broker_would_refuse_cannot_be_asked_for(chunk_bytes: int) -> None:
    with pytest.raises(InvalidInputError, match=f"chunk_bytes is {chunk_bytes}; choose 1024 to 16"):
        cut(message(), chunk_bytes=chunk_bytes)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("protocol", None, "header 'protocol' is not an integer"),
        ("chunks", 65_536, "header 'chunks' is 65536, not 1 to 65535"),
        ("protocol", True, "header 'protocol' is not an integer"),
        ("protocol", "1", "header 'protocol' is not an integer"),
        ("chunks", 1.0, "header 'chunks' is not an integer"),
        ("chunks", 0, "header 'chunks' is 0, not 1 to"),
        ("chunks", 4, "bytes in chunks of 4096 are not 4 chunks"),
        ("chunks", 2, "bytes in chunks of 4096 are not 2 chunks"),
        ("chunk", True, "header 'chunk' is not an integer"),
        ("chunk", -1, "header 'chunk' is -1, not 0 to 2"),
        ("chunk", 3, "header 'chunk' is 3, not 0 to 2"),
        ("chunk", 2, "chunk 2 has 4096 bytes, its place is for"),
        ("chunk_bytes", 0, "header 'chunk_bytes' is 0, not 1024 to 16777215"),
        ("chunk_bytes", 1023, "header 'chunk_bytes' is 1023, not 1024 to 16777215"),
        ("chunk_bytes", 2**24, "header 'chunk_bytes' is 16777216, not 1024 to 16777215"),
        ("bytes", 0, "header 'bytes' is 0, not 1 to 1000000"),
        ("bytes", 10**12, "header 'bytes' is 1000000000000, not 1 to 1000000"),
        ("digest", None, "header 'digest' is not text of at most 64 characters"),
        ("digest", "0" * 65, "header 'digest' is not text of at most 64 characters"),
        ("digest", "0" * 63, "header 'digest' is not a sha256 in lower-case hex"),
        ("digest", "A" * 64, "header 'digest' is not a sha256 in lower-case hex"),
        ("digest", "é" * 64, "header 'digest' is not a sha256 in lower-case hex"),
        ("chunk_sha256", b"0" * 64, "header 'chunk_sha256' is not text of at most 64"),
        ("chunk_sha256", " " * 64, "header 'chunk_sha256' is not a sha256 in lower-case hex"),
        ("run", 3, "header 'run' is not text of at most 64 characters"),
        ("version", "3", "header 'version' is not an integer"),
        ("version", -1, "header 'version' is -1, not 0 to"),
        ("participant", "a" * 65, "header 'participant' is not text of at most 64 characters"),
    ],
)
def test_headers_with_anything_wrong_are_refused(name: str, value: object, words: str) -> None:
    with pytest.raises(MalformedMessageError, match=words):
        changed(**{name: value})


def test_another_protocol_is_refused_in_words() -> None:
    with pytest.raises(UnsupportedProtocolError, match="speaks protocol 1, this program speaks"):
        changed(protocol=1)


@pytest.mark.parametrize("kind", [None, "", "Nonsense"])
def test_an_unknown_kind_is_refused(kind: str | None) -> None:
    with pytest.raises(MalformedMessageError, match="unknown kind of message"):
        ChunkPlace.parse(kind, CHUNKS[0].headers, 4096, LIMITS)


def test_no_headers_at_all_are_refused() -> None:
    with pytest.raises(MalformedMessageError, match="header 'protocol' is not an integer"):
        ChunkPlace.parse("Update", None, 0, LIMITS)


def test_a_chunk_that_comes_twice_changes_nothing() -> None:
    assembly = Assembly(place(CHUNKS[0]), LIMITS)
    for chunk in (CHUNKS[0], CHUNKS[0], CHUNKS[1], CHUNKS[0]):
        assert not assembly.add(place(chunk), chunk.body)
    assert assembly.missing == 1
    assert assembly.add(place(CHUNKS[2]), CHUNKS[2].body)
    assert assembly.add(place(CHUNKS[1]), CHUNKS[1].body)
    assert assembly.whole() == WHOLE


def test_a_body_with_another_digest_is_refused_and_can_come_again() -> None:
    assembly = Assembly(place(CHUNKS[0]), LIMITS)
    with pytest.raises(MalformedMessageError, match="the body of chunk 0 has another digest"):
        assembly.add(place(CHUNKS[0]), bytes(4096))
    for chunk in CHUNKS:
        assembly.add(place(chunk), chunk.body)
    assert assembly.whole() == WHOLE


def test_a_chunk_of_another_message_is_refused() -> None:
    assembly = Assembly(place(CHUNKS[0]), LIMITS)
    for stranger in (changed(version=4), changed(digest="0" * 64), changed(participant="bob")):
        with pytest.raises(MalformedMessageError, match="the chunk belongs to another message"):
            assembly.add(stranger, CHUNKS[1].body)


def test_a_chunk_that_comes_with_two_digests_is_refused() -> None:
    assembly = Assembly(place(CHUNKS[0]), LIMITS)
    assembly.add(place(CHUNKS[1]), CHUNKS[1].body)
    with pytest.raises(MalformedMessageError, match="chunk 1 came with two digests"):
        assembly.add(changed(chunk_sha256="0" * 64), CHUNKS[1].body)


def test_chunks_that_do_not_make_the_announced_whole_are_refused() -> None:
    chunk = cut(GLOBAL_PARAMETERS_MESSAGE)[0]
    forged = {**chunk.headers, "digest": "0" * 64}
    forged_place = ChunkPlace.parse(chunk.kind, forged, len(chunk.body), LIMITS)
    with pytest.raises(MalformedMessageError, match="the digest of the whole message is wrong"):
        Assembly(forged_place, LIMITS).add(forged_place, chunk.body)


def test_a_message_that_is_not_what_its_headers_say_is_refused() -> None:
    chunk = cut(GLOBAL_PARAMETERS_MESSAGE)[0]
    forged = {**chunk.headers, "version": 9}
    forged_place = ChunkPlace.parse(chunk.kind, forged, len(chunk.body), LIMITS)
    assembly = Assembly(forged_place, LIMITS)
    assembly.add(forged_place, chunk.body)
    with pytest.raises(MalformedMessageError, match="is not what its chunks' headers say"):
        assembly.decode()


def test_an_incomplete_message_cannot_be_read() -> None:
    assembly = Assembly(place(CHUNKS[0]), LIMITS)
    with pytest.raises(ValueError, match="3 chunks of the message are missing"):
        assembly.whole()


def test_a_message_can_be_received_into_a_file_and_taken_up_again(tmp_path: Path) -> None:
    spool = tmp_path / "spool"
    spool.write_bytes(bytes(len(WHOLE)))
    first = place(CHUNKS[0])
    with spool.open("r+b") as file:
        before = Assembly(first, LIMITS, Memory(memoryview(mmap.mmap(file.fileno(), 0))))
        for chunk in CHUNKS[:2]:
            before.add(place(chunk), chunk.body)
    digests = dict(before.received)
    del before
    damaged = bytearray(spool.read_bytes())
    damaged[0] ^= 1

    after = Assembly(first, LIMITS, Memory(memoryview(damaged)))
    after.restore(digests)
    assert after.received == {1: digests[1]}
    after.add(place(CHUNKS[2]), CHUNKS[2].body)
    assert after.add(place(CHUNKS[0]), CHUNKS[0].body)
    assert damaged == WHOLE


def test_an_announced_gigabyte_takes_no_memory_until_it_comes() -> None:
    limits = Limits(max_bytes=2**30)
    body = bytes(2**15)
    size = {"bytes": 2**30, "chunks": 2**15, "chunk_bytes": 2**15}
    headers = {**CHUNKS[1].headers, **size}
    before = resident_bytes()
    tracemalloc.start()
    try:
        announced = ChunkPlace.parse("Update", headers, len(body), limits)
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


@given(
    st.dictionaries(
        st.sampled_from(sorted(CHUNKS[1].headers)),
        st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    )
)
def test_any_headers_are_a_place_or_refused(headers: dict[str, object]) -> None:
    try:
        parsed = changed(**headers)
    except MalformedMessageError:
        return
    assert parsed.length == 4096


def test_headers_are_read_without_being_changed() -> None:
    frozen = MappingProxyType(dict(CHUNKS[0].headers))
    assert ChunkPlace.parse("Update", frozen, 4096, LIMITS) == CHUNKS[0].place

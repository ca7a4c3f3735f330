"""Whatever arrives is a message, or is refused by name."""

import struct
import tracemalloc
from collections.abc import Callable
from typing import Any

import msgpack
import pytest
from fuzz_target import GLOBAL_PARAMETERS, LIMITS, UPDATE, corpus, decode_anything, joined
from hypothesis import given
from hypothesis import strategies as st

from fanfold.schemas.errors import MalformedMessageError, UnsupportedProtocolError
from fanfold.schemas.message_codec import Decoded, ReaderLimits, TensorBytes, decode, encode
from fanfold.schemas.messages import PROTOCOL, Hello

SEEDS = corpus()
FLOATS = TensorBytes("w", "float32", (2, 3), "value", "raw", memoryview(bytes(range(24))))
FLAGS = TensorBytes("flags", "bool", (3,), "value", "raw", memoryview(b"\1\0\1"))


def read(whole: bytes, kind: str = "Update", limits: ReaderLimits = LIMITS) -> Decoded:
    return decode(memoryview(whole), kind=kind, limits=limits)


def rewritten(change: Callable[[dict[str, Any]], object], *tensors: TensorBytes) -> bytes:
    """Return an update whose header document went through `change`."""
    whole = joined(encode(UPDATE, tensors))
    (length,) = struct.unpack_from("<I", whole, 4)
    header = msgpack.unpackb(whole[8 : 8 + length])
    change(header)
    return with_header(msgpack.packb(header), whole[-(-(8 + length) // 64) * 64 :])


def with_header(header: bytes, data: bytes = b"") -> bytes:
    head = b"WRRN" + struct.pack("<I", len(header)) + header
    return head + bytes(-len(head) % 64) + data


def row(**changes: object) -> Callable[[dict[str, Any]], None]:
    """Return a change of the first row of the tensor table."""
    names = ["name", "dtype", "shape", "kind", "encoding", "begin", "end"]

    def change(header: dict[str, Any]) -> None:
        for name, value in changes.items():
            header["tensors"][0][names.index(name)] = value

    return change


def field(**changes: object) -> Callable[[dict[str, Any]], None]:
    """Return a change of the message's fields."""
    return lambda header: header["message"].update(changes)


def test_a_message_is_read_as_it_was_written() -> None:
    decoded = read(joined(encode(UPDATE, [FLOATS, FLAGS])))
    assert decoded.message == UPDATE
    assert [(entry.begin, entry.end) for entry in decoded.entries] == [(0, 24), (64, 67)]
    assert decoded.data[64:67] == b"\1\0\1"


def test_a_message_without_tensors_is_a_header_and_nothing_else() -> None:
    hello = Hello(participant="alice", instance="1")
    encoded = encode(hello)
    assert len(encoded.buffers) == 1
    assert encoded.num_bytes % 64 == 0
    assert read(joined(encoded), kind="Hello").message == hello


def test_data_begins_on_a_multiple_of_64() -> None:
    encoded = encode(UPDATE, [FLAGS, FLOATS])
    header, flags, padding, floats = (buffer.nbytes for buffer in encoded.buffers)
    assert header % 64 == 0
    assert (flags, padding, floats) == (3, 61, 24)
    assert encoded.num_bytes == header + 88


@pytest.mark.parametrize(
    ("whole", "words"),
    [
        (b"", "the message ends before its header"),
        (b"WRRN\0\0\0", "the message ends before its header"),
        (b"WRN1" + bytes(60), "does not begin with the letters WRRN"),
        (b"WRRN" + b"\xff" * 60, "the header has 4294967295 bytes, this reader takes 100000"),
        (b"WRRN" + struct.pack("<I", 57) + bytes(56), "the message ends inside its header"),
        (with_header(b""), "not a msgpack document"),
        (with_header(b"\xc1"), "not a msgpack document: FormatError"),
        (with_header(b"\x80\x80"), "not a msgpack document: ExtraData"),
        (with_header(b"\x81\xa1"), "not a msgpack document"),
        (with_header(b"\xa1\xff"), "not a msgpack document: UnicodeDecodeError"),
        (with_header(b"\xc4\x01\0"), "not a msgpack document"),
        (with_header(b"\xd4\x01\0"), "not a msgpack document"),
        (with_header(b"\x81\x01\x01"), "not a msgpack document"),
        (with_header(b"\x91" * 5000), "not a msgpack document"),
        (with_header(b"\xdd\xff\xff\xff\xff"), "not a msgpack document"),
        (with_header(b"\xdf\xff\xff\xff\xff"), "not a msgpack document"),
        (with_header(b"\xdb\xff\xff\xff\xff"), "not a msgpack document"),
        (with_header(b"\x92" + 2 * (b"\xdc\x00\x96" + b"\x90" * 150)), "more than 216 lists and"),
        (with_header(b"\x01"), "the header is not a msgpack map"),
        (with_header(b"\x82\xa1a\x01\xa1a\x02"), "a key given twice"),
        (with_header(b"\x80"), "the header has no protocol number"),
        (with_header(b"\x81\xa8protocol\xc3"), "the header has no protocol number"),
        (
            with_header(b"\x81\xa8protocol" + bytes([PROTOCOL])),
            "keys are not protocol, kind, message, tensors",
        ),
    ],
)
def test_bytes_that_are_no_message_are_refused(whole: bytes, words: str) -> None:
    with pytest.raises(MalformedMessageError, match=words):
        read(whole)


def test_another_protocol_is_refused_in_words_whatever_else_it_says() -> None:
    with pytest.raises(UnsupportedProtocolError, match=f"speaks protocol {PROTOCOL + 1}, this"):
        read(with_header(msgpack.packb({"protocol": PROTOCOL + 1, "news": [1, 2, 3]})))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda header: header.update(more=1), "keys are not protocol, kind, message, tensors"),
        (lambda header: header.pop("tensors"), "keys are not protocol, kind, message, tensors"),
        (lambda header: header.update(kind="Hello"), "the header does not say Update"),
        (lambda header: header.update(kind=None), "the header does not say Update"),
        (lambda header: header.update(message=[]), "Update field ''"),
        (lambda header: header.update(tensors={}), "the tensor table is not a list"),
        (lambda header: header.update(tensors=[1]), r"a row of the tensor table is not \[name, "),
        (field(news=1), "Update field 'news': Extra inputs"),
        (field(num_examples=True), "Update field 'num_examples'"),
        (field(num_examples=0), "Update field 'num_examples'"),
        (field(num_examples=2.0), "Update field 'num_examples'"),
        (field(base_version=-1), "Update field 'base_version'"),
        (field(base_version="3"), "Update field 'base_version'"),
        (field(run="a/b"), "Update field 'run'"),
        (field(run="a\n"), "Update field 'run'"),
        (field(base_digest="F" * 64), "Update field 'base_digest'"),
        (field(metrics={"loss": "low"}), "Update field 'metrics.loss'"),
        (field(metrics={str(number): 0.0 for number in range(65)}), "Update field 'metrics'"),
        (field(metrics={"a" * 65: 0.0}), "Update field 'metrics.aaa"),
    ],
)
def test_a_header_with_anything_wrong_is_refused(
    change: Callable[[dict[str, Any]], object], words: str
) -> None:
    with pytest.raises(MalformedMessageError, match=words):
        read(rewritten(change))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (row(name=""), "tensor name '' is not 1 to 512 bytes without NUL"),
        (row(name="é" * 257), "is not 1 to 512 bytes without NUL"),
        (row(name="a\0b"), "is not 1 to 512 bytes without NUL"),
        (row(name=7), r"a row of the tensor table is not \[name, dtype"),
        (row(name="flags"), "two tensors are named 'flags'"),
        (row(dtype="complex64"), "tensor 'w' has unknown dtype 'complex64'"),
        (row(dtype="float64"), "'w' ends at 24; its shape and encoding make it 48"),
        (row(shape=[6, 2**53]), "tensor 'w' has an impossible shape"),
        (row(shape=[0, 2**40, 2**40]), "tensor 'w' has an impossible shape"),
        (row(shape=[-2, -3]), "tensor 'w' has an impossible shape"),
        (row(shape=[2, 3.0]), "a row of the tensor table is not"),
        (row(shape=[True, 6]), "a row of the tensor table is not"),
        (row(shape=[1] * 17), "tensor 'w' has 17 dimensions, at most 16"),
        (row(shape=[2, 4]), "'w' ends at 24; its shape and encoding make it 32"),
        (row(kind="gradient"), "a row of the tensor table is not"),
        (row(kind="delta", dtype="uint32"), "tensor 'w' is a delta of uint32"),
        (row(encoding="float32"), "tensor 'w': unknown encoding 'float32'|ends at 24"),
        (row(encoding="zip"), "tensor 'w': unknown encoding 'zip'"),
        (row(encoding="int8"), "'w' ends at 24; its shape and encoding make it 10"),
        (row(encoding="float16", dtype="int32"), "tensor 'w' writes int32 as float16"),
        (row(encoding="topk:0.5"), "tensor 'w' writes a value as topk:0.5"),
        (
            row(encoding="topk:0.000001", kind="delta", shape=[2**31], end=8 * 2148),
            "tensor 'w' is too large for topk:0.000001",
        ),
        (
            row(encoding="topk:0.000001", kind="delta", shape=[2**30], end=8 * 1074),
            "the tensors decode to more than the 1000000 bytes this reader takes",
        ),
        (row(begin=64, end=88), "tensor 'w' begins at 64, its place is 0"),
        (row(begin=-64, end=-40), "tensor 'w' begins at -64, its place is 0"),
        (row(begin=False), "a row of the tensor table is not"),
        (row(end=2**63), "'w' ends at 9223372036854775808; its shape and encoding make it 24"),
        (row(shape=[100], end=400), "tensor 'flags' begins at 64, its place is 448"),
        (lambda header: header["tensors"].pop(), "43 bytes follow the last tensor"),
        (lambda header: header["tensors"].reverse(), "tensor 'flags' begins at 64, its place is 0"),
        (lambda header: header["tensors"][0].append(1), "a row of the tensor table is not"),
    ],
)
def test_a_tensor_table_with_anything_wrong_is_refused(
    change: Callable[[dict[str, Any]], object], words: str
) -> None:
    with pytest.raises(MalformedMessageError, match=words):
        read(rewritten(change, FLOATS, FLAGS))


def test_a_tensor_outside_the_message_is_refused() -> None:
    whole = joined(encode(UPDATE, [FLOATS, FLAGS]))
    with pytest.raises(MalformedMessageError, match="tensor 'flags' lies outside the message"):
        read(whole[:-1])
    with pytest.raises(MalformedMessageError, match="1 bytes follow the last tensor"):
        read(whole + b"\0")


def test_padding_that_is_not_zero_is_refused() -> None:
    whole = bytearray(joined(encode(UPDATE, [FLOATS, FLAGS])))
    whole[-4] = 1
    with pytest.raises(MalformedMessageError, match="the padding is not zero"):
        read(bytes(whole))


def test_an_unknown_or_another_kind_is_refused() -> None:
    whole = joined(encode(UPDATE))
    with pytest.raises(MalformedMessageError, match="unknown kind of message 'Nonsense'"):
        read(whole, kind="Nonsense")
    with pytest.raises(MalformedMessageError, match="the header does not say Hello"):
        read(whole, kind="Hello")


def test_more_than_the_reader_takes_is_refused() -> None:
    whole = joined(encode(GLOBAL_PARAMETERS, [FLOATS, FLAGS]))
    with pytest.raises(MalformedMessageError, match="bytes, this reader takes 100"):
        read(whole, kind="GlobalParameters", limits=ReaderLimits(max_bytes=100))
    with pytest.raises(MalformedMessageError, match="bytes, this reader takes 9"):
        read(
            whole, kind="GlobalParameters", limits=ReaderLimits(max_bytes=2**20, max_header_bytes=9)
        )
    with pytest.raises(MalformedMessageError, match="the table has 2 tensors, this reader takes 1"):
        read(whole, kind="GlobalParameters", limits=ReaderLimits(max_bytes=2**20, max_tensors=1))


def test_what_is_written_is_checked_as_strictly_as_what_is_read() -> None:
    with pytest.raises(MalformedMessageError, match="two tensors are named 'w'"):
        encode(UPDATE, [FLOATS, FLOATS])
    with pytest.raises(MalformedMessageError, match="is not Unicode text"):
        encode(UPDATE, [TensorBytes("\ud800", "bool", (0,), "value", "raw", memoryview(b""))])


def test_global_parameters_leave_no_value_out_whatever_the_kind_of_the_tensor() -> None:
    largest = TensorBytes("w", "float32", (2,), "delta", "topk:0.5", memoryview(bytes(8)))
    assert encode(UPDATE, [largest]).entries[0].encoding == "topk:0.5"
    with pytest.raises(MalformedMessageError, match="tensor 'w' writes a value as topk"):
        encode(GLOBAL_PARAMETERS, [largest])


def test_a_declared_terabyte_takes_no_memory() -> None:
    wholes = [
        rewritten(row(shape=[2**38], end=2**40), FLOATS),
        rewritten(row(shape=[2**30], end=8 * 1074, encoding="topk:0.000001", kind="delta"), FLOATS),
        with_header(b"\xdd" + b"\xff" * 4 + b"\x90" * 50_000),
        with_header(b"\xdb" + b"\xff" * 4),
    ]
    tracemalloc.start()
    try:
        for whole in wholes:
            with pytest.raises(
                MalformedMessageError, match=r"ends at|begins at|decode to more|not a msgpack"
            ):
                read(whole)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2_000_000


@given(
    seed=st.sampled_from(SEEDS),
    edits=st.lists(st.tuples(st.integers(0, 4000), st.integers(0, 255)), min_size=1, max_size=8),
    length=st.integers(0, 4000) | st.none(),
)
def test_damaged_messages_are_read_or_refused_and_nothing_else(
    seed: bytes, edits: list[tuple[int, int]], length: int | None
) -> None:
    data = bytearray(seed)
    for position, value in edits:
        data[position % len(data)] = value
    decode_anything(bytes(data[:length]))


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_any_document_in_a_header_is_refused(document: object) -> None:
    assert not decode_anything(with_header(msgpack.packb(document)))


def test_the_seeds_of_fuzzing_are_understood() -> None:
    assert all(decode_anything(seed) for seed in SEEDS)

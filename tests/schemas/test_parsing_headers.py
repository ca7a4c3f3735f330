"""Facts about the headers of a chunk: what they say, and how much of it is believed."""

from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pika import data as amqp

from fanfold.schemas.chunking import DEFAULT_CHUNK_BYTES, ChunkHeader, cut
from fanfold.schemas.errors import MalformedMessageError, UnsupportedProtocolError
from fanfold.schemas.message_codec import encode
from fanfold.schemas.messages import Goodbye, Hello
from tests.schemas.test_chunking import CHUNKS, GLOBAL_PARAMETERS_MESSAGE, LIMITS, changed


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


def test_headers_survive_amqp_where_large_numbers_come_back_as_pikas_own() -> None:
    hello = Hello(participant="alice", instance="1", num_examples=2**40)
    chunk = cut(encode(hello))[0]
    pieces: list[bytes] = []
    amqp.encode_table(pieces, chunk.headers)
    headers, _ = amqp.decode_table(b"".join(pieces), 0)
    assert type(headers["examples"]) is not int
    assert ChunkHeader.parse("Hello", headers, len(chunk.body), LIMITS) == chunk.header


def test_unknown_headers_are_ignored() -> None:
    assert changed(**{"x-death": [1, {}], "x-received-from": b"\xff"}) == CHUNKS[1].header


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
        ("digest", "0" * 63, "header 'digest' is not a digest in lower-case hex"),
        ("digest", "A" * 64, "header 'digest' is not a digest in lower-case hex"),
        ("digest", "é" * 64, "header 'digest' is not a digest in lower-case hex"),
        ("chunk_blake3", b"0" * 64, "header 'chunk_blake3' is not text of at most 64"),
        ("chunk_blake3", " " * 64, "header 'chunk_blake3' is not a digest in lower-case hex"),
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
    with pytest.raises(
        UnsupportedProtocolError, match="speaks protocol 2, this program speaks protocol 3; run"
    ):
        changed(protocol=2)


@pytest.mark.parametrize("kind", [None, "", "Nonsense"])
def test_an_unknown_kind_is_refused(kind: str | None) -> None:
    with pytest.raises(MalformedMessageError, match="unknown kind of message"):
        ChunkHeader.parse(kind, CHUNKS[0].headers, 4096, LIMITS)


def test_no_headers_at_all_are_refused() -> None:
    with pytest.raises(MalformedMessageError, match="header 'protocol' is not an integer"):
        ChunkHeader.parse("Update", None, 0, LIMITS)


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
    assert ChunkHeader.parse("Update", frozen, 4096, LIMITS) == CHUNKS[0].header

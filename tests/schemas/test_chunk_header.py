"""What a reader may want of the headers of a chunk, beyond that they make sense."""

from dataclasses import replace

import pytest
from fuzz_target import GLOBAL_PARAMETERS, LIMITS, UPDATE

from fanfold.schemas.chunking import ChunkHeader, check_cut, cut
from fanfold.schemas.errors import InvalidInputError, MalformedMessageError
from fanfold.schemas.message_codec import TensorBytes, encode

DATA = TensorBytes("a", "uint8", (5000,), "value", "raw", memoryview(bytes(5000)))
CHUNK = cut(encode(UPDATE, [DATA]), chunk_bytes=4096)[0]


@pytest.mark.parametrize("name", ["run", "participant"])
@pytest.mark.parametrize("value", ["", "../run", "a b", "a\n", "\u00e9", "\U0001f600" * 64])
def test_labels_are_identifiers(name: str, value: str) -> None:
    """They become part of routing keys, where 64 characters of four bytes would be too long."""
    with pytest.raises(MalformedMessageError, match=f"header '{name}' is not an identifier"):
        ChunkHeader.parse(CHUNK.kind, {**CHUNK.headers, name: value}, 4096, LIMITS)


def test_a_reader_may_want_larger_chunks_than_it_is_sent() -> None:
    """A message of one chunk is as small as it is."""
    picky = replace(LIMITS, least_chunk_bytes=4097)
    with pytest.raises(MalformedMessageError, match="in 2 chunks of 4096 bytes, this reader takes"):
        ChunkHeader.parse(CHUNK.kind, CHUNK.headers, 4096, picky)
    (small,) = cut(encode(GLOBAL_PARAMETERS), chunk_bytes=1024)
    assert ChunkHeader.parse(small.kind, small.headers, len(small.body), picky) == small.header


def test_more_chunks_than_amqp_counts_cannot_be_asked_for() -> None:
    """A reader's prefetch has 16 bits: it would wait for the last chunk for ever."""
    row = TensorBytes("a", "uint8", (n := 65_535 * 1024,), "value", "raw", memoryview(bytes(n)))
    encoded = encode(UPDATE, [row])
    words = f"of {encoded.num_bytes} bytes has more than 65535 chunks .* choose --chunk-bytes 1025"
    with pytest.raises(InvalidInputError, match=words):
        cut(encoded, chunk_bytes=1024)
    check_cut(encoded.num_bytes, 1025)

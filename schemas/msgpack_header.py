"""The header document as bytes: the one place that knows msgpack."""

from collections.abc import Mapping

import msgpack

from fanfold.schemas.errors import MalformedMessageError

_MAX_STRING_BYTES = 4096
_MAX_MAP_PAIRS = 256


def pack(document: Mapping[str, object]) -> bytes:
    """Return `document` (maps, lists, strings, numbers, booleans, None) as msgpack."""
    packed = msgpack.packb(document)
    assert isinstance(packed, bytes)  # its own annotations allow None
    return packed


def unpack(raw: memoryview, *, max_containers: int) -> dict[str, object]:
    """Return the one map that `raw` is.

    A hostile document may cost a small multiple of its own length in memory, never more: every
    length is bounded, and so is the number of lists and maps in it (one byte each on the wire, but
    64 in memory). Depth is bounded by msgpack's own stack of 1024, and then by the types expected.

    Raises:
        MalformedMessageError: if `raw` is not exactly one msgpack map with unique string keys.
    """
    count = 0

    def counted(container: list[object]) -> list[object]:
        nonlocal count
        count += 1
        if count > max_containers:
            raise MalformedMessageError(f"the header has more than {max_containers} lists and maps")
        return container

    def unique(pairs: list[tuple[object, object]]) -> dict[object, object]:
        counted([])
        document = dict(pairs)
        if len(document) != len(pairs):
            raise MalformedMessageError("the header has a map with a key given twice")
        return document

    try:
        document = msgpack.unpackb(
            raw,
            list_hook=counted,
            object_pairs_hook=unique,
            strict_map_key=True,
            max_str_len=_MAX_STRING_BYTES,
            max_array_len=max_containers,
            max_map_len=_MAX_MAP_PAIRS,
            max_bin_len=0,
            max_ext_len=0,
        )
    # ValueError stands for most of msgpack's own errors, for broken UTF-8 and for broken dates.
    except (ValueError, OverflowError, RecursionError, msgpack.UnpackException) as error:
        raise MalformedMessageError(
            f"the header is not a msgpack document: {type(error).__name__}"
        ) from error
    if not isinstance(document, dict):
        raise MalformedMessageError("the header is not a msgpack map")
    return document

"""JSON without spaces, as the files of a run hold it, and in the order in which it was made."""

import json

_ENCODER = json.JSONEncoder(separators=(",", ":"))


def compact_json(document: object) -> str:
    """Return a document of dictionaries, lists, texts, numbers, booleans and None in one line.

    >>> compact_json({"event": "round", "updates": [1, 2]})
    '{"event":"round","updates":[1,2]}'

    Raises:
        TypeError: if something else is in it.
        ValueError: if it holds itself.
    """
    return _ENCODER.encode(document)

"""Lines chained by their hashes, so that a changed byte is noticed.

A line is one JSON object whose last member is `chain`. Its value is the SHA-256, in lower-case
hexadecimal, of the line before's `chain` (64 zeros for the first line) followed by the bytes of
this line without that member and without the line feed:

    {"event":"round","round":1}                                         what is hashed
    {"event":"round","round":1,"chain":"835b…"}                         what stands in the file
"""

import re
from hashlib import sha256

START = "0" * 64
"""What the first line is chained to."""
_LINE = re.compile(rb'(\{.*),"chain":"([0-9a-f]{64})"\}\n', re.DOTALL)


def chained(record: bytes, chain: str) -> tuple[bytes, str]:
    """Return the line of a JSON object of at least one member, and its hash.

    >>> line, chain = chained(b'{"event":"round"}', START)
    >>> line[:40]
    b'{"event":"round","chain":"0f667e412c192c'
    """
    chain = _chained(record, chain)
    return record[:-1] + f',"chain":"{chain}"}}\n'.encode(), chain


def follows(line: bytes, chain: str) -> str | None:
    """Return a line's hash if it is whole and follows the one with the hash `chain`."""
    parts = _LINE.fullmatch(line)
    if parts is None or _chained(parts[1] + b"}", chain) != parts[2].decode():
        return None
    return parts[2].decode()


def hash_of(line: bytes) -> str | None:
    """Return the hash that a line ends with, unchecked; None if it is no such line."""
    parts = _LINE.fullmatch(line)
    return None if parts is None else parts[2].decode()


def _chained(record: bytes, chain: str) -> str:
    return sha256(chain.encode() + record).hexdigest()

"""How files are damaged."""

import random
from pathlib import Path

REFUSED = 2
"""The exit code of who was given something that it cannot use."""


def flip(path: Path, dice: random.Random) -> None:
    """Change one bit of a file."""
    body = bytearray(path.read_bytes())
    body[dice.randrange(len(body))] ^= 1 << dice.randrange(8)
    path.write_bytes(body)

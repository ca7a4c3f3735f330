"""Lists of whole numbers as people write them on a command line: `0-4,7`."""

import re

from fanfold.schemas.errors import InvalidInputError

MOST_NUMBERS = 100_000
_PART = re.compile(r"(\d{1,18})(?:-(\d{1,18}))?")


def numbers_of(text: str, option: str) -> tuple[int, ...]:
    """Return the numbers of a list of numbers and ranges, each once, in the order given.

    Args:
        text: such as `3`, `0-4` (both ends belong to it) or `0,2,5-7`.
        option: what the error is about, such as `--seeds`.

    Example:
        >>> numbers_of("7,0-2,1", "--seeds")
        (7, 0, 1, 2)

    Raises:
        InvalidInputError: if it is none, or has too many.
    """
    found: dict[int, None] = {}
    for part in text.split(","):
        match = _PART.fullmatch(part.strip())
        if match is None or int(match[2] or match[1]) < int(match[1]):
            raise InvalidInputError(
                f"{option} {text!r} is no list of numbers; write 0-4 or 0,2,5-7, the smaller first"
            )
        first, last = int(match[1]), int(match[2] or match[1])
        if last - first >= MOST_NUMBERS:
            raise InvalidInputError(f"{option} {text!r} are more than {MOST_NUMBERS} numbers")
        found |= dict.fromkeys(range(first, last + 1))
    return tuple(found)

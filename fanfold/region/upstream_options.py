"""Mistakes on the side above, in the names that its options have for a region."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from fanfold.schemas.errors import InvalidInputError

UPSTREAM = ("federation", "broker", "ca_file", "identity", "coordinator_identity")
"""Options of a participant that a region has with `upstream_` before their names."""

_NAMES = "|".join(name.replace("_", "-") for name in (*UPSTREAM, "credentials"))
_OPTION = re.compile(rf"(?<!enroll )--({_NAMES})\b")
"""One of them, beside those of `fanfold enroll`."""


@contextmanager
def named_as_upstream() -> Iterator[None]:
    """Name the options of a participant as a region has them.

    Raises:
        InvalidInputError: in the place of one that names them as a participant has them.
    """
    try:
        yield
    except InvalidInputError as error:
        told = _OPTION.sub(r"--upstream-\1", str(error)).replace("--state-dir", "--out")
        raise InvalidInputError(told) from None

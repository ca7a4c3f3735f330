"""Mistakes on the side above, in the names that its options have for a region."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from fanfold.schemas.errors import InvalidInputError

_UPSTREAM = re.compile(r"(?<!enroll )--(broker|ca-file|identity|coordinator-identity)\b")
"""What a participant calls so, beside the options of `fanfold enroll`."""


@contextmanager
def named_as_upstream() -> Iterator[None]:
    """Name the options of a participant as a region has them.

    Raises:
        InvalidInputError: in the place of one that names them as a participant has them.
    """
    try:
        yield
    except InvalidInputError as error:
        told = _UPSTREAM.sub(r"--upstream-\1", str(error)).replace("--state-dir", "--out")
        raise InvalidInputError(told) from None

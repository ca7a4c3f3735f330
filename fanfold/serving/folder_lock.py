"""The lock on a registry's folder: one service at a time writes there."""

import fcntl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from fanfold.schemas.errors import InvalidInputError

LOCK = "service.lock"


@contextmanager
def locked(folder: Path, *, wait: Callable[[], None]) -> Iterator[None]:
    """Hold the folder, which is made if need be; the system lets it go with this process.

    Args:
        folder: of the registry.
        wait: called again and again while another service holds it; it may raise.

    Raises:
        InvalidInputError: if the folder cannot be written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / LOCK).open("ab")
    except OSError as error:
        raise InvalidInputError(
            f"--out {folder} cannot be written to ({error.strerror}); choose another folder"
        ) from None
    with file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                wait()
            else:
                break
        yield

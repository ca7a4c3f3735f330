"""The files of a participant's state folder."""

from collections.abc import Iterable
from pathlib import Path

from fanfold.schemas.errors import InvalidInputError
from fanfold.storage.disk import replacing


def unusable(folder: Path, error: OSError) -> InvalidInputError:
    """Return the error of a state folder that cannot be used."""
    return InvalidInputError(
        f"--state-dir {folder} cannot be used ({error.strerror}); choose another folder"
    )


def replace(path: Path, buffers: Iterable[bytes | memoryview]) -> None:
    """Replace a file and sync it: after a crash there is the old file or the new one.

    Raises:
        OSError: if the disk refuses; the old file is still there.
    """
    with replacing(path) as file:
        file.writelines(buffers)

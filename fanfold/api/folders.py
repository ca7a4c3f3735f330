"""Folders for runs that nobody gave one."""

from pathlib import Path

from fanfold.schemas.errors import InvalidInputError

RUNS = Path("runs")


def new_folder(task: str) -> Path:
    """Make a folder of its own for a run: `runs/radiology-1`, or the next number that is free.

    Raises:
        InvalidInputError: if the current folder cannot be written to.
    """
    name = task.rpartition(":")[2].rpartition(".")[2].lower()
    number = 1
    while True:
        folder = RUNS / f"{name}-{number}"
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            number += 1
        except OSError as error:
            raise InvalidInputError(
                f"{folder} cannot be written to ({error.strerror}); name another folder with out="
            ) from None
        else:
            return folder

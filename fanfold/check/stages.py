"""What a user's code raises while a task is checked is told in a sentence that says where."""

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from fanfold.learning import LearningError, TaskError
from fanfold.schemas.errors import FanfoldError

_NOT_THE_USERS = (Path(torch.__file__).parent, Path(__file__).parents[1])


@contextmanager
def stage(doing: str) -> Iterator[None]:
    """Run one part of a check, such as "building the network".

    Raises:
        TaskError: Anything went wrong that is not told in a sentence already.
    """
    try:
        yield
    except (FanfoldError, LearningError):
        raise
    except Exception as error:
        lines = str(error).strip().splitlines()
        what = f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
        raise TaskError(f"{doing} failed{_where(error)}: {what}") from error


def _where(error: Exception) -> str:
    """Return the last line of the user's own that ran."""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        path = Path(frame.filename)
        if not any(path.is_relative_to(each) for each in _NOT_THE_USERS):
            return f" in {frame.name}, {path.name} line {frame.lineno}"
    return ""

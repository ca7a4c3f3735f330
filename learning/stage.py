"""What a task's own code raises is told in a sentence that says where."""

import sysconfig
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from fanfold.learning.errors import LearningError, TaskFailedError, TrainingAbandoned

_NOT_THE_USERS = (Path(torch.__file__).parent, Path(__file__).parents[1])
_NEEDS_LESS_MEMORY = (
    "; a smaller --batch-size or --autocast needs less, a larger --device-memory-fraction allows "
    "more, and fewer participants leave more of the device to each"
)
_STANDARD_LIBRARY = Path(sysconfig.get_path("stdlib"))


@contextmanager
def stage(doing: str) -> Iterator[None]:
    """Run a part of a task's own code.

    Args:
        doing: what, such as "building the network".

    Raises:
        TaskFailedError: if anything went wrong that is not told in a sentence already.
    """
    try:
        yield
    except (LearningError, TrainingAbandoned):
        raise
    except Exception as error:
        lines = str(error).strip().splitlines()
        what = f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
        if isinstance(error, torch.OutOfMemoryError):  # its figures of the device fill a screen
            what = what.partition(" GPU ")[0].rstrip(".") + _NEEDS_LESS_MEMORY
        where = users_line(traceback.extract_tb(error.__traceback__))
        raise TaskFailedError(f"{doing} failed{where}: {what}") from error


def users_line(stack: traceback.StackSummary) -> str:
    """Return the last line of the user's own that ran, as " in train_data, scans.py line 7"."""
    for frame in reversed(stack):
        path = Path(frame.filename)
        if _is_the_users(path):
            return f" in {frame.name}, {path.name} line {frame.lineno}"
    return ""


def _is_the_users(path: Path) -> bool:
    if any(path.is_relative_to(each) for each in _NOT_THE_USERS):
        return False
    is_installed = "site-packages" in path.parts
    return path.exists() and (is_installed or not path.is_relative_to(_STANDARD_LIBRARY))

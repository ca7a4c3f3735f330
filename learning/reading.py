"""One sentence for what goes wrong while a task reads its data."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fanfold.learning.errors import TaskError


@contextmanager
def reading(data_dir: Path | None) -> Iterator[None]:
    """Turn errors of files into `TaskError` while a task's own code runs.

    Args:
        data_dir: the folder that was given to the task; None if none was.

    Raises:
        TaskError: if a file or folder is missing, cannot be read or ends too early.
    """
    try:
        yield
    except (OSError, EOFError) as error:
        reason = str(error) or type(error).__name__
        if isinstance(error, OSError) and error.strerror and error.filename is not None:
            reason = f"{error.filename}: {error.strerror}"
        here = "its data" if data_dir is None else f"its data in {data_dir}"
        raise TaskError(
            f"the task cannot read {here} ({reason}); name the folder that holds it with --data"
        ) from error

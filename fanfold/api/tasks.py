"""A task as a script names it: by its class, or by the name that the command line takes."""

import sys
from pathlib import Path

from fanfold.learning import Task, registry
from fanfold.schemas.errors import InvalidInputError

TaskName = str | type[Task]


def named_here(task: TaskName) -> str:
    """Return a name under which this process finds the task, wherever its class was written.

    Raises:
        InvalidInputError: if it is no task.
    """
    if isinstance(task, str):
        return task
    name = f"{_checked(task).__module__}:{task.__qualname__}"
    registry.remember(name, task)
    return name


def named_everywhere(task: TaskName) -> tuple[str, Path | None]:
    """Return a name under which other processes find the task, and the folder to import it from.

    Raises:
        InvalidInputError: if it is no task, or its class can be found in this process only.
    """
    if isinstance(task, str):
        return task, None
    module = sys.modules.get(_checked(task).__module__)
    file = getattr(module, "__file__", None)
    if module is None or file is None or getattr(module, task.__qualname__, None) is not task:
        raise InvalidInputError(
            f"fanfold.run trains in processes of their own, which cannot import {task.__qualname__}"
            f": write the class into a file, such as tasks.py, and import it from there; "
            "fanfold.simulate trains it as it is, in this process"
        )
    path = Path(file).resolve()
    is_script = module.__name__ == "__main__"
    name = f"{path.stem if is_script else module.__name__}:{task.__qualname__}"
    registry.remember(name, task)
    depth = 0 if is_script else module.__name__.count(".") + (path.name == "__init__.py")
    return name, path.parents[depth]


def _checked(task: type[Task]) -> type[Task]:
    if isinstance(task, Task):
        raise InvalidInputError(
            f"give the class {type(task).__name__} itself, and not an object of it: each "
            "participant makes its own"
        )
    if not (isinstance(task, type) and issubclass(task, Task)):
        raise InvalidInputError(f"{task!r} is no task: it does not derive from fanfold.Task")
    return task

"""Tasks by name: the built-in ones, and `package.module:ClassName` of the user's own."""

import inspect
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

from fanfold.learning.errors import TaskError
from fanfold.learning.reading import reading
from fanfold.learning.stage import stage
from fanfold.learning.task import Task

BUILT_IN = {
    "digits": "fanfold.learning.digits:Digits",
    "mnist": "fanfold.learning.images:Mnist",
    "fashion-mnist": "fanfold.learning.images:FashionMnist",
    "cifar10": "fanfold.learning.images:Cifar10",
}

_remembered: dict[str, type[Task]] = {}


def remember(name: str, task: type[Task]) -> None:
    """Let `load_task` find a class by this name, also where no import would, as in a notebook."""
    _remembered[name] = task


def load_task(name: str) -> type[Task]:
    """Find a task's class.

    Args:
        name: a built-in task or "package.module:ClassName". Modules in the current directory can be
            named, as with `python -m`.

    Raises:
        TaskError: if there is no such task, or the class does not derive from `Task`.
    """
    task = _remembered.get(name) or _imported(name)
    if not (isinstance(task, type) and issubclass(task, Task)):
        raise TaskError(f"{name} is not a task: it does not derive from fanfold.Task")
    if inspect.isabstract(task):
        missing_methods = ", ".join(sorted(task.__abstractmethods__))
        raise TaskError(f"the task {name} does not write {missing_methods}")
    return task


def make_task(name: str, data_dir: Path | None, **arguments: Any) -> Task:
    """Return a task, found as `load_task` finds it.

    Args:
        name: of the task.
        data_dir: where its data lies; None if the user named no folder.
        **arguments: others of its class.

    Raises:
        TaskError: if there is no such task, or it cannot be made.
    """
    with stage("loading the task"), reading(data_dir):
        task = load_task(name)(data_dir=data_dir, **arguments)
    if not hasattr(task, "partition"):
        raise TaskError(
            f"`__init__` of {type(task).__name__} does not call `super().__init__(**arguments)`, "
            "which takes the folder, the share and the seed"
        )
    return task


def module_of(name: str) -> str:
    """Return the name of the module that a task is in; it need not be there.

    Raises:
        TaskError: if that cannot be told from the task's name.
    """
    if name in _remembered:
        raise TaskError(f"the task {name!r} is known in this process only, and has no source file")
    return _target(name)[0]


def look_here() -> None:
    """Let modules in the current directory be found, as with `python -m`."""
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)


def _target(name: str) -> tuple[str, str]:
    """Return the names of a task's module and class."""
    module_name, colon, class_name = BUILT_IN.get(name, name).partition(":")
    if not (colon and module_name and class_name):
        raise TaskError(
            f"there is no built-in task {name!r}; use {', '.join(BUILT_IN)}, "
            "or package.module:ClassName for your own"
        )
    return module_name, class_name


def _imported(name: str) -> object:
    module_name, class_name = _target(name)
    look_here()
    with stage(f"importing {module_name}"):
        try:
            module = import_module(module_name)
        except ImportError as error:
            missing = isinstance(error, ModuleNotFoundError) and error.name is not None
            if missing and f"{module_name}.".startswith(f"{error.name}."):
                raise TaskError(
                    f"there is no module {error.name!r} for the task {name!r}, "
                    "neither installed nor in the current directory"
                ) from error
            raise TaskError(f"the module {module_name!r} cannot be imported: {error}") from error
    task = getattr(module, class_name, None)
    if task is None:
        raise TaskError(f"the module {module_name!r} has no class {class_name!r}")
    return task

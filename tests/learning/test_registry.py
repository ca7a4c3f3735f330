import sys
from pathlib import Path

import pytest

from fanfold.learning import BUILT_IN, Task, TaskError, load_task
from fanfold.learning.digits import Digits


@pytest.fixture
def own_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user's module in the current directory, which is not on Python's path."""
    (tmp_path / "own_tasks.py").write_text(
        "import fanfold\n"
        "class Good(fanfold.Task):\n"
        "    def network(self): ...\n"
        "    def train_data(self): ...\n"
        "class Half(fanfold.Task):\n"
        "    def network(self): ...\n"
        "class Other: ...\n"
        "number = 3\n"
    )
    (tmp_path / "broken_tasks.py").write_text("import no_such_dependency\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(sys, "modules", {**sys.modules})


@pytest.mark.parametrize("name", BUILT_IN)
def test_built_in_tasks_go_by_name(name: str) -> None:
    """Finding one reads no data."""
    assert issubclass(load_task(name), Task)


def test_digits_are_digits() -> None:
    """The default task."""
    assert load_task("digits") is Digits


@pytest.mark.usefixtures("own_module")
def test_a_task_in_the_current_directory_is_found() -> None:
    """As `python -m` finds a module there."""
    assert load_task("own_tasks:Good").__name__ == "Good"


@pytest.mark.usefixtures("own_module")
@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "digit",
            "no built-in task 'digit'; use digits, mnist, fashion-mnist, cifar10, or package",
        ),
        ("own_tasks:", "no built-in task 'own_tasks:'"),
        (":Good", "no built-in task ':Good'"),
        ("missing:Good", "no module 'missing' for the task 'missing:Good', neither installed nor"),
        ("missing.deep:Good", "no module 'missing' for the task"),
        ("own_tasks:Missing", "the module 'own_tasks' has no class 'Missing'"),
        (
            "own_tasks:Other",
            "own_tasks:Other is not a task: it does not derive from fanfold.Task",
        ),
        ("own_tasks:number", "own_tasks:number is not a task"),
        ("own_tasks:Half", "the task own_tasks:Half does not write train_data"),
        ("broken_tasks:Good", "'broken_tasks' cannot be imported: No module named 'no_such_dep"),
    ],
)
def test_what_is_no_task_is_refused_in_one_sentence(name: str, message: str) -> None:
    """Each mistake has its own."""
    with pytest.raises(TaskError, match=message):
        load_task(name)

"""The tutorial's table of a task has all that there is, and nothing else."""

import inspect
import re
from pathlib import Path

from fanfold import Digits, Task

TUTORIAL = (Path(__file__).parents[2] / "docs" / "tutorial.md").read_text()


def told() -> dict[str, list[str] | None]:
    """Each name in the table's first column, with the parameters of a method."""
    table = TUTORIAL.partition("| method or attribute |")[2].partition("\n\n")[0]
    first = "\n".join(re.findall(r"^\|([^|]+)", table, re.MULTILINE))
    names = re.findall(r"`(\w+)(?:\((.*?)\))?`", first)
    is_method = {name for name in dir(Task) if callable(getattr(Task, name))}
    return {name: re.findall(r"\w+", words) if name in is_method else None for name, words in names}


def test_the_table_names_every_member_of_a_task() -> None:
    """Those of the class, and what its constructor leaves on an object."""
    members = {name for name in (*dir(Task), *vars(Digits())) if not name.startswith("_")}
    assert set(told()) == members


def test_the_table_shows_the_parameters_of_every_method() -> None:
    written = {name: words for name, words in told().items() if words is not None}
    assert len(written) > 12
    found = {name: list(inspect.signature(getattr(Task, name)).parameters)[1:] for name in written}
    assert written == found

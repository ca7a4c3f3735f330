"""What people see of the service's answers."""

import io
from typing import Any

from rich.console import Console

from fanfold.operating.show import show_runs


def told(run: str, **facts: Any) -> dict[str, Any]:
    return {
        "run": run,
        "state": "finished",
        "version": 8,
        "rounds": 8,
        "accuracy": 0.9306,
        "task": "digits",
        "parent": None,
        "priority": 0,
        "submitted_by": "ada",
        "reason": None,
    } | facts


def shown(*runs: dict[str, Any], width: int = 80) -> list[str]:
    console = Console(file=io.StringIO(), width=width)
    show_runs(runs, console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


def test_a_run_has_a_line_of_its_own_in_a_narrow_terminal() -> None:
    """Why it failed is a sentence below the table, which breaks no column."""
    why = "there is no module 'nosuch' for the task 'nosuch:Task', neither installed nor here"
    lines = shown(told("first"), told("third", state="failed", reason=why), width=70)
    assert [line.split()[:2] for line in lines[1:3]] == [["first", "finished"], ["third", "failed"]]
    assert " ".join(line.strip() for line in lines[3:]) == f"third is failed: {why}"


def test_an_empty_registry_says_how_to_begin() -> None:
    assert shown() == ["no run yet; `fanfold submit` puts one into the queue"]

"""What users import from `fanfold`: nothing slips in, and nothing is lost."""

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import fanfold

ROOT = Path(__file__).parent.parent

PUBLIC = {
    "ByCoordinate": "fanfold.coordinator.aggregation.aggregator",
    "ByDistance": "fanfold.coordinator.aggregation.aggregator",
    "Client": "fanfold.learning.client",
    "Digits": "fanfold.learning.digits",
    "FanfoldError": "fanfold.schemas.errors",
    "FederatedNet": "fanfold.learning.network",
    "Folding": "fanfold.coordinator.aggregation.aggregator",
    "HFTask": "fanfold.learning.hugging_face",
    "OverAll": "fanfold.learning.whole_metrics",
    "Partition": "fanfold.learning.partition",
    "Run": "fanfold.runs.run",
    "Task": "fanfold.learning.task",
    "TaskError": "fanfold.learning.errors",
    "TrackedModule": "fanfold.learning.tracking",
    "TrainingPlan": "fanfold.learning.plan",
    "compare": "fanfold.api.simulate",
    "load": "fanfold.runs.load",
    "run": "fanfold.api.run",
    "simulate": "fanfold.api.simulate",
}
"""Every public name, and where it is defined."""

USERS = [*(ROOT / "examples").rglob("*.py"), ROOT / "README.md", ROOT / "docs" / "tutorial.md"]


def in_a_fresh_process(program: str) -> str:
    result = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return result.stdout.strip()


def test_the_public_names_are_these() -> None:
    assert set(fanfold.__all__) == PUBLIC.keys()
    assert fanfold.__all__ == sorted(fanfold.__all__)


@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_name_is_the_object_that_its_module_defines(name: str) -> None:
    public = getattr(fanfold, name)
    assert public is getattr(importlib.import_module(PUBLIC[name]), name)
    assert public.__module__ == PUBLIC[name]
    assert public.__doc__


def test_importing_fanfold_loads_no_dependency() -> None:
    """Neither torch nor pika nor msgpack: a name that needs torch loads it when it is used."""
    heavy = "{'torch', 'numpy', 'pika', 'msgpack', 'pydantic', 'typer'} & sys.modules.keys()"
    assert in_a_fresh_process(f"import sys, fanfold; print({heavy})") == "set()"
    assert in_a_fresh_process(f"import sys; from fanfold import Task; print({heavy})") != "set()"


def test_a_console_completes_the_public_names_before_they_are_loaded() -> None:
    program = (
        "import sys, fanfold; print({*fanfold.__all__} <= {*dir(fanfold)}, 'torch' in sys.modules)"
    )
    assert in_a_fresh_process(program) == "True False"


def test_a_name_that_does_not_exist_is_no_attribute() -> None:
    with pytest.raises(AttributeError, match="module 'fanfold' has no attribute 'Server'"):
        _ = fanfold.Server


@pytest.mark.parametrize("path", USERS, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_is_shown_to_users_imports_from_fanfold_alone(path: Path) -> None:
    lines = path.read_text().splitlines()
    assert [line for line in lines if line.startswith(("from fanfold.", "import fanfold."))] == []

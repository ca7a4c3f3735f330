"""The house has floors: who may import whom, read from the source and tried in a fresh process."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = ("storage", "schemas", "learning", "transport", "coordinator", "participant")
PACKAGES = (*ROOMS, "fanfold")
"""The rooms, and the front door: what lies in fanfold/ itself and is no link."""

STANDS_ON = {
    "storage": set(),
    "schemas": set(),
    "learning": set(),
    "transport": {"schemas"},
    "coordinator": {"storage", "schemas", "transport", "learning"},
    "participant": {"storage", "schemas", "transport", "learning"},
    "fanfold": set(ROOMS),
}

ONE_ROOM = {"pika": "transport", "msgpack": "schemas"}
"""Who alone may import a dependency."""

LEARNING_KNOWS = {"torch", "torchvision"}


def room_of(module: str) -> str:
    first, _, rest = module.partition(".")
    room = rest.partition(".")[0]
    return room if first == "fanfold" and room in ROOMS else first


def imports(package: str) -> Iterator[tuple[str, str]]:
    """Yield (place, room or dependency) for every import in `package`, wherever it stands."""
    for path in sorted((ROOT / package).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or "" if not node.level else package]
                if names == ["fanfold"]:
                    names = [f"fanfold.{alias.name}" for alias in node.names]
            else:
                continue
            for name in names:
                yield f"{path.relative_to(ROOT)}:{node.lineno}", room_of(name)


@pytest.mark.parametrize("package", PACKAGES)
def test_a_floor_stands_only_on_those_below(package: str) -> None:
    allowed = STANDS_ON[package] | {package}
    wrong = [
        f"{place} imports {name}"
        for place, name in imports(package)
        if name in PACKAGES and name not in allowed
    ]
    assert not wrong


@pytest.mark.parametrize("dependency", ONE_ROOM)
def test_a_dependency_lives_in_one_room(dependency: str) -> None:
    wrong = [
        place
        for package in PACKAGES
        if package != ONE_ROOM[dependency]
        for place, name in imports(package)
        if name == dependency
    ]
    assert not wrong


def test_learning_needs_torch_and_torchvision_only() -> None:
    """All but one file of it, which is loaded only when somebody asks for DP-SGD."""
    allowed = sys.stdlib_module_names | LEARNING_KNOWS | {"learning"}
    found = {(place, name) for place, name in imports("learning") if name not in allowed}
    assert {(place.partition(":")[0], name) for place, name in found} == {
        ("learning/dp_sgd.py", "opacus")
    }


def test_nothing_loads_opacus_before_somebody_asks_for_it() -> None:
    """It is optional, and takes seconds."""
    program = (
        "import sys, fanfold.learning, fanfold.participant.assembly; print('opacus' in sys.modules)"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "False"


@pytest.mark.parametrize(
    "module",
    [
        "fanfold.schemas",
        "fanfold.schemas.messages",
        "fanfold.schemas.message_codec",
        "fanfold.schemas.chunking",
        "fanfold.schemas.names",
    ],
)
def test_the_words_of_the_protocol_load_neither_broker_nor_torch(module: str) -> None:
    program = f"import sys, {module}; print({{'pika', 'torch', 'numpy'}} & sys.modules.keys())"
    result = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "set()"

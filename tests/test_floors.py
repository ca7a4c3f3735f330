"""Which package may import which: read from the source, and tried in a fresh process."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from docs import draw_architecture
from docs.import_graph import ROOMS, import_graph

ROOT = Path(__file__).parent.parent
PACKAGES = (*ROOMS, "fanfold")
"""The rooms, and the front door: what lies in fanfold/ itself and is no link."""

STANDS_ON = {
    "storage": set(),
    "schemas": set(),
    "learning": set(),
    "transport": {"schemas"},
    "sealing": {"storage", "schemas"},
    "keeper": {"storage", "schemas", "transport", "sealing"},
    "coordinator": {"storage", "schemas", "transport", "learning", "sealing"},
    "participant": {"storage", "schemas", "transport", "learning", "sealing"},
    "fanfold": set(ROOMS),
}

FRONT_DOOR: dict[str, set[str]] = {
    "access": set(),
    "check": set(),
    "simulation": set(),
    "runs": {"simulation"},
    "registry": {"runs", "monitoring"},
    "serving": {"access", "api", "local", "monitoring", "page", "registry"},
    "operating": {"registry"},
    "report": {"runs", "monitoring"},
    "monitoring": {"access"},
    "page": {"registry", "runs", "report", "monitoring", "views"},
    "local": {"access", "page"},
    "region": {"access", "monitoring"},
    "views": {"monitoring"},
    "api": {"access", "simulation", "runs", "monitoring", "local", "views"},
    "cli": {
        "access",
        "check",
        "simulation",
        "runs",
        "report",
        "page",
        "monitoring",
        "local",
        "views",
        "api",
        "registry",
        "serving",
        "operating",
        "region",
    },
}
"""Which packages in fanfold/ itself each of them may import."""

ONE_ROOM = {"pika": "transport", "msgpack": "schemas"}
"""Who alone may import a dependency."""

LEARNING_KNOWS = {"torch", "torchvision"}


def circle_in(graph: dict[str, set[str]]) -> list[str]:
    """Return the modules of one circle, the first one again at the end; none if there is none."""
    done: set[str] = set()

    def walk(name: str, way: list[str]) -> list[str]:
        if name in way:
            return [*way[way.index(name) :], name]
        if name in done:
            return []
        for each in sorted(graph[name]):
            if circle := walk(each, [*way, name]):
                return circle
        done.add(name)
        return []

    return next((circle for name in sorted(graph) if (circle := walk(name, []))), [])


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


def test_no_module_imports_itself_over_others() -> None:
    """Not for types either: what stands in a circle can only be read and changed as one."""
    graph = import_graph()
    assert graph["fanfold.transport.io.session"] > {"fanfold.transport.events"}
    assert circle_in(graph) == []


def test_a_circle_is_found() -> None:
    """The search sees one that does not begin at its first module."""
    graph = {"a": {"b"}, "b": {"c", "d"}, "c": set[str](), "d": {"b"}}
    assert circle_in(graph) == ["b", "d", "b"]


@pytest.mark.parametrize("package", FRONT_DOOR)
def test_the_front_door_imports_in_one_direction(package: str) -> None:
    """The command line stands on top: what it starts can be used without it."""
    allowed = {package, *FRONT_DOOR[package]}
    wrong = [
        f"{module} imports {each}"
        for module, imported in import_graph().items()
        if module.startswith(f"fanfold.{package}.")
        for each in imported
        if each.split(".")[1] in FRONT_DOOR and each.split(".")[1] not in allowed
    ]
    assert not wrong


def test_every_package_of_the_front_door_has_its_place() -> None:
    here = {path.name for path in (ROOT / "fanfold").iterdir() if path.is_dir()}
    assert here - {*ROOMS, "__pycache__"} == FRONT_DOOR.keys()


def test_the_picture_of_the_packages_shows_todays_imports() -> None:
    """`make picture` draws it anew."""
    source = draw_architecture.drawing().replace("--", "- -")
    assert draw_architecture.PICTURE.read_text().endswith(f"<!--\n{source}\n-->\n")


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
    """All but two files of it, which are loaded only when somebody asks for what is in them."""
    allowed = sys.stdlib_module_names | LEARNING_KNOWS | {"learning"}
    found = {(place, name) for place, name in imports("learning") if name not in allowed}
    assert {(place.partition(":")[0], name) for place, name in found} == {
        ("learning/dp_sgd.py", "opacus"),
        ("learning/hugging_face.py", "peft"),
        ("learning/hugging_face.py", "transformers"),
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

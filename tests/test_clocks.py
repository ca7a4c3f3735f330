"""No decision hangs on the clock on the wall: it jumps, and summer time is the least of it."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
OF_THE_WALL = {
    "time": {"time", "time_ns", "localtime", "gmtime", "ctime"},
    "datetime": {"now", "utcnow", "today"},
    "date": {"today"},
}
OF_A_FILE = {"st_mtime", "st_mtime_ns", "st_ctime", "st_atime", "getmtime"}


def readings(package: str) -> Iterator[str]:
    for path in sorted((ROOT / package).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            place = f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}"
            if isinstance(node, ast.ImportFrom) and node.module == "time":
                yield from (
                    f"{place} imports {each.name}"
                    for each in node.names
                    if each.name in OF_THE_WALL["time"]
                )
            if isinstance(node, ast.Attribute):
                owner = node.value.id if isinstance(node.value, ast.Name) else ""
                if node.attr in OF_THE_WALL.get(owner, ()) or node.attr in OF_A_FILE:
                    yield f"{place} reads {owner or 'a file'}.{node.attr}"


@pytest.mark.parametrize(
    "package",
    ["coordinator", "participant", "keeper", "sealing", "transport", "schemas", "storage"],
)
def test_nobody_looks_at_the_clock_on_the_wall(package: str) -> None:
    """Deadlines, retries, pauses and ages count on the monotonic clock."""
    assert list(readings(package)) == []


def test_no_test_patches_the_clock() -> None:
    """Where a deadline is judged the clock is an argument."""
    patched = re.compile(r"setattr\(\s*(?:time\b|\"time\.)|patch\(\"time\.")
    found = [
        str(path.relative_to(ROOT))
        for path in sorted((ROOT / "tests").rglob("*.py"))
        if patched.search(path.read_text(encoding="utf-8"))
    ]
    assert found == []

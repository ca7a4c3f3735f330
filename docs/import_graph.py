"""Which modules of the package import which, read from the source."""

import ast
from pathlib import Path

ROOT = Path(__file__).parent.parent
ROOMS = (
    "storage",
    "schemas",
    "learning",
    "transport",
    "sealing",
    "keeper",
    "coordinator",
    "participant",
)
"""Folders at the top level; `fanfold/` holds a link to each."""


def module_of(path: Path) -> str:
    """Return the name under which a file is imported."""
    parts = list(path.relative_to(ROOT).with_suffix("").parts)
    if parts[-1] == "__init__":
        parts.pop()
    return ".".join(parts if parts[0] == "fanfold" else ["fanfold", *parts])


def modules() -> dict[str, Path]:
    """Every module of the package by its name; the rooms are links, which are not followed."""
    folders = [ROOT / package for package in ("fanfold", *ROOMS)]
    links = {ROOT / "fanfold" / room for room in ROOMS}
    return {
        module_of(path): path
        for folder in folders
        for path in sorted(folder.rglob("*.py"))
        if not links & set(path.parents)
    }


def import_graph() -> dict[str, set[str]]:
    """Which modules each module names in its imports, wherever they stand.

    Those under `if TYPE_CHECKING:` and those inside functions count. That Python runs a package's
    `__init__` before a module in it does not.
    """
    known = modules()
    graph: dict[str, set[str]] = {name: set() for name in known}
    for name, path in known.items():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                graph[name] |= {each.name for each in node.names} & known.keys()
            elif isinstance(node, ast.ImportFrom) and node.module in known:
                inside = {f"{node.module}.{each.name}" for each in node.names} & known.keys()
                names_all = len(inside) == len(node.names)
                graph[name] |= inside if names_all else {node.module, *inside}
    return graph

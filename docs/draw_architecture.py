"""Draws docs/images/packages.svg from the imports: `make picture` (Debian: apt install graphviz).

A box is a package, with the first sentence of its docstring. A grey arrow says that something in
one package imports something in the other; an arrow that follows from two others is left out. A
dashed red arrow goes against the direction: without the red ones, which are the weakest of every
circle, all arrows point down.
"""

import ast
import html
import re
import subprocess
import textwrap
from collections import Counter
from pathlib import Path

from docs.import_graph import ROOMS, ROOT, import_graph

PICTURE = ROOT / "docs" / "images" / "packages.svg"
Arrow = tuple[str, str]
COLORS = {"fanfold": "#fdf0d5", "coordinator": "#dbe9f6", "participant": "#dff2e1"}
STYLE = """
graph [rankdir=TB nodesep=0.3 ranksep=0.45 fontname="DejaVu Sans"]
node [shape=box style="rounded,filled" color="#5b6470" fontname="DejaVu Sans" fontsize=11]
edge [color="#7a8594" arrowsize=0.7]
"""


SHARED = "coordinator/*.py"
"""The box of the coordinator's own files that its folders import, such as its settings."""


def shared_files(graph: dict[str, set[str]]) -> set[str]:
    """Return the modules beside the coordinator's folders that something in a folder imports."""
    beside = {name for name in graph if re.fullmatch(r"fanfold\.coordinator\.\w+", name)}
    beside -= {
        name for name in beside if (ROOT / name.removeprefix("fanfold.").replace(".", "/")).is_dir()
    }
    inside = {name for name in graph if name.startswith("fanfold.coordinator.")} - beside
    shared = set().union(*(graph[name] for name in inside)) & beside
    while more := set().union(*(graph[name] for name in shared)) & beside - shared:
        shared |= more
    return shared


def package_of(module: str) -> str:
    """Return the box of a module: a folder of `fanfold/`, one of the coordinator, or a room."""
    _, _, rest = module.partition(".")
    room, _, inside = rest.partition(".")
    part = inside.partition(".")[0]
    if room == "coordinator" and part and (ROOT / room / part).is_dir():
        return f"coordinator/{part}"
    if room in ROOMS:
        return room
    return f"fanfold/{room}" if room and (ROOT / "fanfold" / room).is_dir() else "fanfold"


def arrows() -> dict[Arrow, int]:
    """Return how many imports there are from one package to another."""
    graph = import_graph()
    box = {module: package_of(module) for module in graph}
    box |= dict.fromkeys(shared_files(graph), SHARED)
    counted: Counter[Arrow] = Counter()
    for module, imported in graph.items():
        for each in imported:
            counted[box[module], box[each]] += 1
    return {arrow: count for arrow, count in sorted(counted.items()) if arrow[0] != arrow[1]}


def beneath(package: str, arrows: set[Arrow]) -> set[str]:
    """Return every package that one reaches by arrows."""
    found: set[str] = set()
    waiting = [package]
    while waiting:
        here = waiting.pop()
        below = {to for start, to in arrows if start == here} - found
        found |= below
        waiting += below
    return found


def split(counted: dict[Arrow, int]) -> tuple[set[Arrow], set[Arrow]]:
    """Divides the arrows into those that point down, and the weakest of every circle."""
    down: set[Arrow] = set()
    for arrow in sorted(counted, key=lambda arrow: (-counted[arrow], arrow)):
        if arrow[0] not in beneath(arrow[1], down):
            down.add(arrow)
    return down, counted.keys() - down


def drawn(down: set[Arrow]) -> set[Arrow]:
    """Return the arrows that do not follow from others."""
    return {
        (start, to)
        for start, to in down
        if not any(to in beneath(via, down) for other, via in down if other == start and via != to)
    }


def summary(package: str) -> str:
    """Return the first sentence of a package's docstring; of shared files, their names."""
    if package == SHARED:
        names = sorted(module.rpartition(".")[2] for module in shared_files(import_graph()))
        return ", ".join(f"{name}.py" for name in names)
    source = (ROOT / package / "__init__.py").read_text(encoding="utf-8")
    return " ".join((ast.get_docstring(ast.parse(source)) or "").split("\n\n")[0].split())


def drawing() -> str:
    """Return the picture in the language of graphviz, which is also what a test compares."""
    down, against = split(arrows())
    lines = [f'"{start}" -> "{to}"' for start, to in sorted(drawn(down))]
    red = 'style=dashed color="#b23b3b" constraint=false'
    lines += [f'"{start}" -> "{to}" [{red}]' for start, to in sorted(against)]
    for package in sorted({name for arrow in down for name in arrow}):
        text = "<BR/>".join(textwrap.wrap(html.escape(summary(package), quote=False), 36))
        label = f'<B>{package}</B><BR/><FONT POINT-SIZE="8">{text}</FONT>'
        color = COLORS.get(package.partition("/")[0], "#eceff3")
        lines.append(f'"{package}" [label=<{label}> fillcolor="{color}"]')
    return "\n".join(["digraph packages {" + STYLE, *lines, "}"])


def draw(path: Path) -> None:
    """Draws the picture; its source stands at its end, as a comment."""
    source = drawing()
    command = ["dot", "-Tsvg"]
    drawing_itself = subprocess.run(
        command, input=source, capture_output=True, text=True, check=True
    ).stdout
    comment = source.replace("--", "- -")
    path.write_text(f"{drawing_itself}<!--\n{comment}\n-->\n", encoding="utf-8")


if __name__ == "__main__":
    draw(PICTURE)

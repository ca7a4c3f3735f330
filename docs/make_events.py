"""Makes docs/events.md from the classes of schemas/events: `make events`."""

import ast
import inspect
import json
from collections.abc import Iterator
from dataclasses import MISSING, fields
from pathlib import Path
from types import ModuleType

from fanfold.schemas.events.event import Event
from fanfold.schemas.events.reading import MODULES

PAGE = Path(__file__).parent / "events.md"
HEAD = """# Events

What Fanfold tells people and programs. `--json` prints one JSON object per line on standard output;
`--log-format json` does so too, and makes the log lines on standard error JSON as well:

```json
%s
```

`event` names the event, and `time` says when it was told (UTC, ISO 8601). A field in brackets is
there only where something is known; a number that is not finite is null. Programs should pass over
events and fields that they do not know: later versions may have more. `fanfold local` passes on
what its coordinator tells.

This page is made from `schemas/events/` by `make events`.
"""
EXAMPLE = {
    "event": "participant_silent",
    "time": "2026-03-01T12:30:00.000Z",
    "participant": "ada",
    "round": 7,
}
JSON_TYPES = {
    "str": "string",
    "bool": "true or false",
    "int": "integer",
    "float": "number",
    "None": "null",
}


def main() -> None:
    """Write the page."""
    PAGE.write_text(page(), encoding="utf-8")


def page() -> str:
    """Return the whole page."""
    parts = [HEAD % json.dumps(EXAMPLE)]
    for module in MODULES:
        parts += [f"\n## {(module.__doc__ or '').strip().rstrip('.')}\n", *_events(module)]
    return "".join(parts)


def _events(module: ModuleType) -> Iterator[str]:
    """Yield a section for each event, from the source: there fields have docstrings."""
    for node in ast.parse(inspect.getsource(module)).body:
        if isinstance(node, ast.ClassDef):
            kind: type[Event] = vars(module)[node.name]
            lines = "".join(_fields(kind, node))
            yield f"\n### `{kind.name}`\n\n{ast.get_docstring(node)}\n\n{lines}"


def _fields(kind: type[Event], node: ast.ClassDef) -> Iterator[str]:
    defaults = {each.name: each.default for each in fields(kind)}
    for above, below in zip(node.body, [*node.body[1:], None], strict=True):
        if not isinstance(above, ast.AnnAssign) or not isinstance(above.target, ast.Name):
            continue
        name = above.target.id
        if name == "unprinted" or name in kind.unprinted:
            continue
        is_always_there = defaults[name] is MISSING
        shown = f"`{name.rstrip('_')}`" if is_always_there else f"[`{name.rstrip('_')}`]"
        types = [_json_type(each) for each in ast.unparse(above.annotation).split(" | ")]
        told = " or ".join(types if is_always_there else [each for each in types if each != "null"])
        comment = ""
        if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant):
            comment = f". {' '.join(str(below.value.value).split())}"
        yield f"- {shown}: {told}{comment}\n"


def _json_type(name: str) -> str:
    """Return a type as JSON has it."""
    if name.startswith("tuple["):
        return f"list of {_json_type(name.removeprefix('tuple[').removesuffix(', ...]'))}s"
    if name.startswith(("dict[str, ", "Mapping[str, ")):
        values = name.partition(", ")[2].removesuffix("]")
        return "object" if values == "Any" else f"object of {_json_type(values)}s by name"
    return JSON_TYPES[name]


if __name__ == "__main__":
    main()

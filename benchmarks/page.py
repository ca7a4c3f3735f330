"""Writes the results into docs/performance.md, between the marks that name them.

python -m benchmarks.page
"""

import json
import re
from pathlib import Path
from typing import Any

from benchmarks.results import FOLDER, number, ratio

PAGE = Path(__file__).parent.parent / "docs" / "performance.md"
MARKS = re.compile(r"(<!-- (bench-[a-z-]+) -->\n).*?(<!-- end -->)", re.DOTALL)
HEAD = (
    "| case | ours | floor | ours/floor | peer | peer/ours | unit | promised |\n"
    "| --- | ---: | ---: | ---: | ---: | ---: | --- | --- |\n"
)


def table(target: str) -> str:
    """Return a target's results as a table."""
    path = FOLDER / f"{target}.json"
    if not path.exists():
        return "Not measured yet.\n"
    return HEAD + "".join(map(_line, json.loads(path.read_text())))


def _line(row: dict[str, Any]) -> str:
    cells = (
        row["case"],
        number(row["ours"]),
        number(row["floor"]),
        ratio(row["ours_to_floor"]),
        number(row["peer"]),
        ratio(row["peer_to_ours"]),
        row["unit"],
        row["limit"],
    )
    return f"| {' | '.join(cells)} |\n"


def filled(page: str) -> str:
    """Return the page with every table made anew."""
    return MARKS.sub(lambda mark: mark[1] + table(mark[2]) + mark[3], page)


if __name__ == "__main__":
    PAGE.write_text(filled(PAGE.read_text()))

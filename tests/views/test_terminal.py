"""What stands in a real terminal after 671 rounds, held against captures beside this file.

`FANFOLD_CAPTURE=1` writes them anew.
"""

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from programs import program

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
CAPTURES = HERE / "captures"
PATIENCE_SECONDS = 60.0
NEWEST = re.compile(r"│ +671 │|round 671: version 671, ")
SIZES = ("COLUMNS", "LINES")
"""Variables that outrank the size of the terminal, where one is set."""
ELAPSED = re.compile(r"\d:\d\d:\d\d(?=$|\n)")

Capture = Callable[[str, int, int], str]


@pytest.fixture
def capture(tmp_path: Path) -> Iterator[Capture]:
    """Run the long run in a tmux of its own, and return what is on its screen once all is told."""
    tmux = [program("tmux", package="tmux"), "-u", "-S", str(tmp_path / "socket"), "-f", os.devnull]
    inherited = {name: value for name, value in os.environ.items() if name not in SIZES}
    environment = inherited | {"LC_ALL": "C.UTF-8", "PYTHONPATH": str(ROOT)}

    def run(*arguments: str) -> str:
        done = subprocess.run(
            [*tmux, *arguments], env=environment, capture_output=True, text=True, check=True
        )
        return done.stdout

    def take(term: str, width: int, height: int) -> str:
        command = f"{term} exec {sys.executable} {HERE / 'long_run.py'}"
        size = (f"-x{width}", f"-y{height}")
        run("new-session", "-d", *size, "sleep 600", ";", "set", "-g", "status", "off")
        run("new-window", command)
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not re.search(r"waiting for\s+3\s+updates", screen := run("capture-pane", "-p")):
            assert time.monotonic() < deadline, screen
            time.sleep(0.05)
        return ELAPSED.sub("0:00:00", screen)

    yield take
    run("kill-server")


@pytest.mark.parametrize(
    ("name", "term", "width", "height"),
    [("80x20", "", 80, 20), ("60x15", "", 60, 15), ("dumb", "TERM=dumb", 80, 20)],
)
def test_the_newest_round_is_on_the_screen(
    capture: Capture, name: str, term: str, width: int, height: int
) -> None:
    """In one line each, down to 60 columns; a terminal that cannot redraw gets lines."""
    screen = capture(term, width, height)
    kept = CAPTURES / f"{name}.txt"
    if os.environ.get("FANFOLD_CAPTURE"):
        kept.write_text(screen)

    assert NEWEST.search(screen)
    assert screen == kept.read_text()

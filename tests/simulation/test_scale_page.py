"""Facts about docs/scale.md: what it says of the simulator is what the simulator says."""

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fanfold.cli.commands import app

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "scale.md").read_text()


@pytest.mark.slow
def test_one_level_of_the_tree_takes_as_long_as_the_page_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hundred participants share a line of 10 Gb/s."""
    (command,) = re.findall(r"^fanfold (simulate .*--participants 100 .*)$", PAGE, re.MULTILINE)
    (seconds,) = re.findall(r"It says (16[.]\d) s", PAGE)
    monkeypatch.chdir(ROOT / "examples" / "own_task")
    result = CliRunner().invoke(app, [*command.split(), "--json", "--out", str(tmp_path)])
    assert result.exit_code == 0, result.output
    (closed,) = re.findall(r'"round_closed".*"updates": (\d+),.*"seconds": ([\d.]+)', result.output)
    assert closed[0] == "100"
    assert float(closed[1]) == pytest.approx(float(seconds), abs=0.05)

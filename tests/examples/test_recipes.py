"""Each recipe of docs/recipes.md does what it says, in an empty folder."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "recipes.md").read_text()
BLOCK = re.compile(r"^```(python|sh)\n(.*?)^```", re.MULTILINE | re.DOTALL)
RECIPES = {
    section.partition("\n")[0]: BLOCK.findall(section) for section in PAGE.split("\n## ")[1:]
}
LINKED = "A federation over TLS, from an empty machine"
"""Walked by the operator, in containers."""
WITH_A_BROKER = "Three hospitals with a CSV file each"


def cook(recipe: str, folder: Path) -> list[str]:
    """Save and run the blocks of a recipe in their order; return the lines that they print."""
    program = folder / "bin" / "fanfold"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m fanfold "$@"\n')
    program.chmod(0o755)
    path = f"{program.parent}:{os.environ['PATH']}"
    environment = os.environ | {"PYTHONPATH": f"{ROOT}:{folder}", "PATH": path}
    environment.pop("FANFOLD_BROKER_URL", None)
    lines = []
    for language, text in RECIPES[recipe]:
        named = re.match(r"# (\w+\.py)\n", text)
        if named:
            (folder / named[1]).write_text(text)
            continue
        shell = [sys.executable, "-"] if language == "python" else ["/bin/sh", "-eu"]
        done = subprocess.run(
            shell,
            input=text,
            cwd=folder,
            env=environment,
            check=False,
            capture_output=True,
            text=True,
            timeout=110,
        )
        assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"
        lines += done.stdout.splitlines()
    return lines


def test_every_recipe_is_tried() -> None:
    assert [name for name, blocks in RECIPES.items() if not blocks] == [LINKED]
    tried = {*TOLD, WITH_A_BROKER, LINKED}
    assert tried == RECIPES.keys()


TOLD = {
    "Loading the model in plain PyTorch": r"tensor\(\[\d, \d\]\)",
    "Adapters, and batches that are dicts": r"\d{4} bytes in an update, 25\d{4} in the network",
    "Control variates in a task": r"Plain: 0\.\d+ from the optimum\nScaffold: 0\.000\d from the .*",
    "An aggregation rule of one's own": r"(?s).*: 4 rounds, .*runs/median/sync/history\.jsonl",
}
"""What each recipe prints."""


@pytest.mark.parametrize("recipe", TOLD)
@pytest.mark.slow
def test_a_recipe_in_one_process(recipe: str, tmp_path: Path) -> None:
    assert re.fullmatch(TOLD[recipe], "\n".join(cook(recipe, tmp_path)))


@pytest.mark.slow
def test_three_hospitals_train_from_their_csv_files(tmp_path: Path) -> None:
    """Unscaled columns and BatchNorm: nobody is left out, and the held-out accuracy is high."""
    lines = cook(WITH_A_BROKER, tmp_path)
    assert all("participant_refused" not in line for line in lines)
    table = (tmp_path / "runs" / "tumours" / "rounds.csv").read_text().splitlines()
    names, last = table[0].split(","), table[-1].split(",")
    values = dict(zip(names, last, strict=True))
    assert (values["round"], values["updates"], values["examples"]) == ("10", "3", "380")
    assert float(values["accuracy"]) > 0.95

"""A user's folder may hold modules of any name that our rooms have."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = (
    "coordinator",
    "participant",
    "schemas",
    "transport",
    "learning",
    "sealing",
    "storage",
    "keeper",
)
TASK = f"""
import importlib

from fanfold.learning.digits import Digits

for name in {ROOMS}:
    assert importlib.import_module(name).OWNER == "the user", name


class Own(Digits):
    pass
"""


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_is_a_folder_that_the_package_links_to(room: str) -> None:
    """So that `fanfold.coordinator` is the folder that stands at the top level."""
    assert (ROOT / "fanfold" / room).readlink() == Path("..") / room


@pytest.mark.slow
def test_a_task_imports_its_own_modules_and_not_ours(tmp_path: Path, broker_url: str) -> None:
    """Each is called like one of our rooms; some are files, and some are packages."""
    for room in ROOMS[:3]:
        (tmp_path / f"{room}.py").write_text('OWNER = "the user"\n')
    for room in ROOMS[3:]:
        (tmp_path / room).mkdir()
        (tmp_path / room / "__init__.py").write_text('OWNER = "the user"\n')
    (tmp_path / "own.py").write_text(TASK)
    ended = subprocess.run(
        [
            *(sys.executable, "-m", "fanfold", "local", "--task=own:Own", "--json"),
            *("--participants=2", "--rounds=1", "--out=run"),
        ],
        cwd=tmp_path,
        env=os.environ | {"FANFOLD_BROKER_URL": broker_url},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout.splitlines()[-1])["event"] == "run_finished"

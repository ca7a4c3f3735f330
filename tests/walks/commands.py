"""Commands as a user types them, in a folder of their own."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any


def fanfold(folder: Path, *arguments: str) -> list[dict[str, Any]]:
    """Type a command in a folder, and return the events that it told."""
    return [json.loads(line) for line in python(folder, "-m", "fanfold", *arguments, "--json")]


def python(folder: Path, *arguments: str) -> list[str]:
    """Run Python in a folder, and return the lines that it prints."""
    environment = {
        key: value
        for key, value in os.environ.items()
        if key not in ("PYTHONPATH", "FANFOLD_BROKER_URL")
    }
    ended = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=environment | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout.splitlines()


def of_name(events: list[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    """Return the events of one name."""
    return [each for each in events if each.get("event") == name]

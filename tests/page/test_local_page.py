"""`fanfold local --page`: the page of a demo, from before its first round until Ctrl-C."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

pytestmark = pytest.mark.slow


def test_a_demo_is_shown_until_ctrl_c(tmp_path: Path) -> None:
    """Its page says that it is finished, has lanes of all rounds, and stays."""
    command = [sys.executable, "-m", "fanfold", "local", "--page", "--json", "--rounds=4"]
    command += ["--participants=2", f"--out={tmp_path / 'demo'}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as local:
        assert local.stdout is not None
        told = [json.loads(local.stdout.readline())]
        while told[-1]["event"] != "run_finished":
            told.append(json.loads(local.stdout.readline()))
        url = next(each["url"] for each in told if each["event"] == "page_served")
        frame = first_frame(f"{url}runs/demo/stream")
        os.kill(local.pid, signal.SIGINT)
        assert local.wait(60) == 130

    assert frame["sections"]["state"] in {"finished", "waiting"}  # its coordinator ends just now
    assert [each["updates"] for each in frame["people"]] == [4, 4]
    for spans in frame["spans"].values():
        worked = [span for span in spans if span[1] == "t" and span[5] == 0]
        assert [span[4] for span in worked] == [0, 1, 2, 3]


def first_frame(url: str) -> dict[str, Any]:
    with httpx.stream("GET", url, timeout=60) as answer:
        line = next(each for each in answer.iter_lines() if each.startswith("data: "))
    return dict(json.loads(line.removeprefix("data: ")))

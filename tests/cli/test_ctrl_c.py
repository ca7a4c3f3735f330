"""What every command does after Ctrl-C: how to go on, and one exit code."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TASK = "--task=tests.federation.tiny_tasks:Tiny"
RUNS = {
    "local": (("--participants=1", "--rounds=1000000"), "the same command, without --fresh"),
    "coordinator": ((), "participants wait for it"),
    "participant": (("--id=ann",), "the same command takes part again"),
    "simulate": (("--participants=2", "--rounds=1000000"), "begins it anew"),
    "status": (("--watch",), "the federation goes on"),
}
"""Options of each command that runs on, and what it says."""


@pytest.mark.parametrize(
    "command", [pytest.param("local", marks=pytest.mark.slow), *sorted(RUNS.keys() - {"local"})]
)
def test_ctrl_c_ends_a_command_with_130_and_a_word_on_how_to_go_on(
    command: str, tmp_path: Path, broker_url: str, federation: str
) -> None:
    """Sent to all processes in the foreground, as a terminal does; services name that signal."""
    options, words = RUNS[command]
    given = [f"--federation={federation}"] if command != "simulate" else []
    given += [TASK] if command != "status" else []
    given += [f"--out={tmp_path}"] if command in {"local", "coordinator", "simulate"} else []
    with subprocess.Popen(
        [sys.executable, "-m", "fanfold", command, "--json", *options, *given],
        cwd=ROOT,
        env=os.environ | {"FANFOLD_BROKER_URL": broker_url},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        process_group=0,
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()  # from the first event on it runs
        os.killpg(process.pid, signal.SIGINT)
        told, error = process.communicate(timeout=60)

    assert process.returncode == 130
    assert error.splitlines()[-1].startswith("fanfold: ended by Ctrl-C (SIGINT, exit code 130): ")
    assert words in error.splitlines()[-1]
    events = [json.loads(line) for line in told.splitlines()]
    reasons = {each["reason"] for each in events if each["event"] in {"stopping", "leaving"}}
    assert reasons == ({"SIGINT"} if command not in {"status", "simulate"} else set())


@pytest.fixture
def heeds_ctrl_c() -> Iterator[None]:
    """Let children heed SIGINT: a shell has what it starts in the background ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("heeds_ctrl_c")
def test_ctrl_c_during_the_imports_ends_in_the_same_way(tmp_path: Path) -> None:
    """Without a traceback."""
    # one long call would miss a signal that comes just before it
    waiting = "import time\nprint('importing', flush=True)\nwhile True: time.sleep(0.01)\n"
    (tmp_path / "torch.py").write_text(waiting)
    with subprocess.Popen(
        [sys.executable, "-m", "fanfold", "check", TASK],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(tmp_path), "PYTHONSAFEPATH": ""},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "importing\n"
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=30)

    assert process.returncode == 130
    assert error.strip() == (
        "fanfold: ended by Ctrl-C (SIGINT, exit code 130): the same command begins anew"
    )

"""Every folder of `examples/` does what its two lines promise."""

import json
import os
import re
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fanfold.api.round_rules import rounds_of
from fanfold.schemas.events.coordinator import RoundClosed
from fanfold.simulation.one_run import simulate
from fanfold.simulation.settings import SimulationSettings

EXAMPLES = Path(__file__).parents[2] / "examples"
FOLDERS = sorted(path for path in EXAMPLES.iterdir() if path.is_dir())


def rounds_closed(
    task: str, folder: str, out: Path, monkeypatch: pytest.MonkeyPatch, **options: Any
) -> list[RoundClosed]:
    """Simulate a task of an example's folder among few participants, and return its rounds."""
    monkeypatch.chdir(EXAMPLES / folder)
    monkeypatch.syspath_prepend(EXAMPLES / folder)
    settings = SimulationSettings.model_validate(
        {"participants": 4, "speeds": "constant", "out": out, "plot": False}
    )
    texts = {"task": task, "rounds": "2"} | {name: str(value) for name, value in options.items()}
    told: list[RoundClosed] = []
    simulate(
        settings,
        rounds_of("sync", settings, texts),
        folder=settings.out,
        say=lambda event: told.append(event) if isinstance(event, RoundClosed) else None,
    )
    return told


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.name)
def test_an_example_is_short_and_says_how_to_run_it(folder: Path) -> None:
    lines = (folder / "README.md").read_text().splitlines()
    assert lines[0].startswith("# ")
    assert re.search(r"`[^`]+`", lines[2])
    for path in folder.iterdir():
        if path.suffix in (".py", ".sh"):
            assert len(path.read_text().splitlines()) < 80  # one that reads real data needs more


def test_an_own_task_learns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rounds = rounds_closed("small_digits:SmallDigits", "own_task", tmp_path, monkeypatch, rounds=12)

    assert rounds[-1].accuracy > 0.8


def test_frozen_layers_are_not_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """25,610 of 65,850 parameters are in the last layer; no others travel, either way."""
    rounds = rounds_closed("last_layer:LastLayer", "partial_update", tmp_path, monkeypatch)

    for way in ("bytes_up", "bytes_down"):
        num_parameters = getattr(rounds[0], way) / rounds[0].updates / 4
        assert num_parameters == pytest.approx(25_610, rel=0.02)


@pytest.mark.parametrize("task", ["OwnHead", "OwnNorms"])
def test_personal_layers_stay_at_home_and_participants_measure(
    task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is shared is smaller than the network, and the accuracy is that of the participants."""
    rounds = rounds_closed(f"personal:{task}", "personal_layers", tmp_path, monkeypatch)

    assert [record.accuracy is not None for record in rounds] == [True] * 2
    assert rounds[-1].loss < rounds[0].loss
    shared = {"OwnHead": 40_240, "OwnNorms": 7_850}[task]
    assert rounds[0].bytes_up / 4 == pytest.approx(4 * shared, rel=0.05)


def test_the_language_models_passages_are_shared_and_some_held_out() -> None:
    """Nobody has another's, nor those that it is measured on."""
    task = runpy.run_path(str(EXAMPLES / "language" / "language.py"))["SmolLM"]
    parts = [task(partition_index=index, num_partitions=4).train_data() for index in range(4)]
    parts.append(task().test_data())
    passages = [passage for part in parts for passage in part]
    assert all(len(part) >= 16 for part in parts)
    assert len(set(passages)) == len(passages)


def test_a_client_alone_learns_in_a_loop(capsys: pytest.CaptureFixture[str]) -> None:
    main = runpy.run_path(str(EXAMPLES / "client_alone" / "loop.py"))["main"]

    assert main(rounds=2) > 0.3
    assert "round 2: loss" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.timeout(300)  # three processes that import torch, on a machine that may be busy
def test_the_asynchronous_run_closes_rounds_with_what_it_asks_for(
    broker_url: str, federation: str, tmp_path: Path
) -> None:
    """The script itself, made smaller, with `fanfold` from this very environment."""
    program = tmp_path / "fanfold"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m fanfold "$@"\n')
    program.chmod(0o755)
    root = str(EXAMPLES.parent)
    finished = subprocess.run(
        [
            "/bin/sh",
            str(EXAMPLES / "asynchronous" / "run.sh"),
            "--json",
            f"--federation={federation}",
        ],
        env=os.environ
        | {
            "ROUNDS": "2",
            "OUT": str(tmp_path / "run"),
            "PATH": f"{tmp_path}:{os.environ['PATH']}",
            "FANFOLD_BROKER_URL": broker_url,
            "PYTHONPATH": root,
        },
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    events = [json.loads(line) for line in finished.stdout.splitlines()]

    assert [event["updates"] for event in events if event["event"] == "round_closed"] == [2, 2]

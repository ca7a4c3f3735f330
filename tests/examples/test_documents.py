"""Facts about the code in README and tutorial: it runs as it stands there."""

import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

ROOT = Path(__file__).parents[2]


def python_block(document: str) -> str:
    """Return the one block of Python in a document."""
    block = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
    (code,) = block.findall((ROOT / document).read_text())
    return str(code)


def run(*arguments: str, folder: Path, **environment: str) -> "subprocess.CompletedProcess[str]":
    """Run Python in a folder of the reader's, with the repository installed."""
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT), **environment},
        check=False,
        capture_output=True,
        text=True,
        timeout=110,
    )


@pytest.fixture
def reader(tmp_path: Path) -> Path:
    """A folder with the README's task in it, saved under the name that it gives."""
    block = python_block("README.md")
    assert len(block.splitlines()) <= 30
    (tmp_path / "radiology.py").write_text(block)
    return tmp_path


@pytest.mark.slow
def test_the_readmes_task_trains_in_a_federation(reader: Path, broker_url: str) -> None:
    """Two participants, two rounds, and the held-out data beside the private one."""
    generator = torch.Generator().manual_seed(0)
    for name, count in (("train.pt", 40), ("test.pt", 20)):
        scans = torch.rand(count, 8, 8, generator=generator)
        torch.save((scans, (scans.mean((1, 2)) > 0.5).long()), reader / name)
    flags = ["--participants=2", "--rounds=2", "--data=.", "--out=out", "--json", "--device=cpu"]
    federation = f"--federation=radiology-{os.getpid()}"
    command = ["-m", "fanfold", "local", "--task=radiology:Radiology", federation, *flags]
    ended = run(*command, folder=reader, FANFOLD_BROKER_URL=broker_url)
    assert ended.returncode == 0, ended.stderr
    last: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    assert (last["event"], last["rounds"]) == ("run_finished", 2)
    assert 0 <= last["accuracy"] <= 1


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        ([], "name the folder of the scans with --data"),
        (["--data=."], "the task cannot read its data in . (train.pt: No such file"),
    ],
)
def test_the_readmes_task_says_what_it_misses(
    reader: Path, flags: list[str], sentence: str
) -> None:
    """Without a folder, and with an empty one: one sentence, exit code 2."""
    command = ["-m", "fanfold", "participant", "--task=radiology:Radiology", "--id=charite"]
    ended = run(*command, "--broker=amqp://127.0.0.1:1", *flags, folder=reader)
    assert ended.returncode == 2
    assert ended.stderr.splitlines()[-1].startswith(f"fanfold: {sentence}")
    assert "Traceback" not in ended.stderr


@pytest.mark.slow
def test_the_tutorials_first_step_runs(tmp_path: Path) -> None:
    """A client alone: its name, how many examples it has, loss and accuracy."""
    ended = run("-c", python_block("docs/tutorial.md"), folder=tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert re.fullmatch(r"alice 360 \([\d.]+, 0\.\d+\)\n", ended.stdout)


PAGES = ["README.md", "CONTRIBUTING.md", *(f"docs/{p.name}" for p in (ROOT / "docs").glob("*.md"))]
FILES = re.compile(r"`([\w./-]+\.(?:py|md|yaml|yml|json|conf|sh|js))`")
READERS_OWN = {
    "radiology.py",
    "dp-sgd.json",
    "DIR/identity.json",
    "identity.json",
    "charite.credentials.json",
    "benchmarks/results/TARGET.json",
    "run-keys.json",
}
"""Files that a reader or a run makes."""


@pytest.mark.parametrize("page", PAGES)
def test_a_page_names_files_that_are_there(page: str) -> None:
    """A name may leave folders out, such as `broker/publisher.py` of the coordinator."""
    listing = subprocess.run(
        ["git", "ls-files"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    there = [f"/{name}" for name in listing.stdout.splitlines() if (ROOT / name).exists()]
    named = set(FILES.findall((ROOT / page).read_text())) - READERS_OWN
    wrong = [each for each in named if not any(name.endswith(f"/{each}") for name in there)]
    assert sorted(wrong) == []


def functions_of(path: Path) -> set[str]:
    """Functions and classes of a module, methods as `Class.method`."""
    body = ast.parse(path.read_text()).body
    names = {node.name for node in body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    for node in body:
        if isinstance(node, ast.ClassDef):
            names |= {f"{node.name}.{each.name}" for each in node.body if hasattr(each, "name")}
    return names


@pytest.mark.parametrize("page", PAGES)
def test_a_page_names_functions_that_are_there(page: str) -> None:
    """Written as `folder/file.py:Class.method`, from the top of the repository."""
    named = re.findall(r"`([\w/]+\.py):([\w.]+)`", (ROOT / page).read_text())
    assert [each for each in named if each[1] not in functions_of(ROOT / each[0])] == []


def test_a_version_takes_at_most_15_hops_from_the_checkpoint_to_the_trainer() -> None:
    """The one that a restart adds included; the walk ends where training begins."""
    text = (ROOT / "docs" / "architecture.md").read_text()
    walk = text.partition("## A version from the checkpoint to the trainer")[2].partition("\n## ")[
        0
    ]
    hops = re.findall(r"^\| (\d+) \| `([^`]+)`", walk, re.MULTILINE)
    assert [int(number) for number, _ in hops] == list(range(1, len(hops) + 1))
    assert hops[-1][1] == "participant/trainer.py:Trainer.train"
    assert len(hops) + 1 <= 15


@pytest.mark.parametrize("page", PAGES)
def test_a_page_links_to_pages_and_pictures_that_are_there(page: str) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)", (ROOT / page).read_text())
    assert [link for link in links if not ((ROOT / page).parent / link).exists()] == []

"""The wheel and the source distribution, built from this tree and tried outside of it.

The environment has this one's dependencies, and nothing of the checkout; the container images are
the proof with dependencies of their own. `make wheel` runs these tests.
"""

import json
import os
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pip
import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

ROOT = Path(__file__).parents[2]
ROOMS = (
    "coordinator",
    "keeper",
    "learning",
    "participant",
    "schemas",
    "sealing",
    "storage",
    "transport",
)
BUILD = """
import sys
from setuptools import build_meta
print(getattr(build_meta, sys.argv[1])(sys.argv[2]))
"""


def tracked() -> list[Path]:
    listing = subprocess.run(
        ["git", "ls-files", "-z"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    return [Path(name) for name in listing.split("\0") if name and os.path.lexists(ROOT / name)]


def built(hook: str, tree: Path, out: Path) -> Path:
    """What setuptools builds of a tree, as pip would ask it to."""
    done = subprocess.run(
        [sys.executable, "-c", BUILD, hook, out],
        cwd=tree,
        check=True,
        capture_output=True,
        text=True,
    )
    return out / done.stdout.splitlines()[-1]


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what git tracks, links as links: building leaves files behind."""
    tree = tmp_path_factory.mktemp("tree")
    for name in tracked():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, tree / name, follow_symlinks=False)
    return tree


@pytest.fixture(scope="module")
def wheel(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built("build_wheel", tree, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the wheel, and with the dependencies of this one."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, symlinks=True)
    (packages,) = folder.glob("lib/python*/site-packages")
    dependencies = Path(pip.__file__).parents[1]
    # A path in a .pth file: those that lie in there, such as an editable install's, are not read.
    (packages / "dependencies.pth").write_text(f"{dependencies}\n")
    python = folder / "bin" / "python"
    command = [sys.executable, "-m", "pip", "--python", python, "install", "-qq", "--no-index"]
    subprocess.run([*command, "--no-deps", "--ignore-installed", wheel], check=True)
    return folder


def outside(environment: Path, folder: Path, *command: str, **variables: str) -> str:
    """What a program of the environment prints, in a folder that holds nothing of ours."""
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    ended = subprocess.run(
        [environment / "bin" / command[0], *command[1:]],
        cwd=folder,
        env=inherited | variables,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def names_in(wheel: Path) -> set[str]:
    return {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}


def test_the_wheel_has_one_name_on_top(wheel: Path) -> None:
    """Whatever a user's own modules are called, they are not ours."""
    assert {name.split("/")[0] for name in names_in(wheel)} == {"fanfold"}


def test_the_wheel_holds_every_module_once_and_the_digits(wheel: Path) -> None:
    ours = {
        name.as_posix() if name.parts[0] == "fanfold" else f"fanfold/{name.as_posix()}"
        for name in tracked()
        if name.parts[0] in ("fanfold", *ROOMS) and not (ROOT / name).is_symlink()
    }
    assert names_in(wheel) == ours
    assert "fanfold/learning/digits/images.idx3-ubyte.gz" in ours


def test_the_source_distribution_builds_the_same_wheel(
    tree: Path, wheel: Path, tmp_path: Path
) -> None:
    archive = built("build_sdist", tree, tmp_path)
    with tarfile.open(archive) as source:
        source.extractall(tmp_path / "source", filter="data")
    (unpacked,) = (tmp_path / "source").iterdir()
    (tmp_path / "wheel").mkdir()
    assert names_in(built("build_wheel", unpacked, tmp_path / "wheel")) == names_in(wheel)


def test_the_wheel_runs_the_demo(environment: Path, tmp_path: Path, broker_url: str) -> None:
    """The command of `make demo`, in a folder of its own."""
    where = outside(
        environment, tmp_path, "python", "-c", "import fanfold; print(fanfold.__file__)"
    )
    assert Path(where.strip()).is_relative_to(environment)
    flags = ("--task=digits", "--participants=4", "--rounds=20", "--out=run", "--json")
    printed = outside(
        environment, tmp_path, "fanfold", "local", *flags, FANFOLD_BROKER_URL=broker_url
    )
    last = json.loads(printed.splitlines()[-1])
    assert (last["event"], last["rounds"]) == ("run_finished", 20)
    assert last["accuracy"] > 0.95
    assert (tmp_path / "run" / "model.safetensors").is_file()

"""Facts about `.ci/containers`: it starts an engine where it may, and says what it leaves out."""

import os
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent.parent / ".ci" / "containers"

# An engine answers as long as the file `up` is there; images are those that are named in a file.
DOCKER = """#!/bin/bash
here=$(dirname "$0")
case $1 in
    info) [ -e "$here/up" ] ;;
    image) grep -qx "$3" "$here/images" ;;
    pull) exit 1 ;;
esac
"""
DOCKERD = """#!/bin/bash
here=$(dirname "$0")
trap 'rm "$here/up"; echo stopped >>"$here/said"; exit 0' TERM
touch "$here/up"
while :; do sleep 0.1; done
"""
MAKE = """#!/bin/bash
here=$(dirname "$0")
echo "$* ${DOCKER_BUILDKIT:-1}${DOCKER_BUILD_FLAGS:-}" >>"$here/said"
[ -e "$here/no-buildkit" ] && [ "${DOCKER_BUILDKIT:-1}" = 1 ] && exit 1
exit 0
"""


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    """A folder of programs that stand in for the real ones, and remember what they were asked."""
    root = "#!/bin/bash\necho 0\n"
    for name, text in (("docker", DOCKER), ("dockerd", DOCKERD), ("make", MAKE), ("id", root)):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    (tmp_path / "images").write_text("python:3.11-slim\nrabbitmq:4-management\n")
    return tmp_path


def run(tools: Path) -> tuple[str, list[str]]:
    """Run the script, and return what it printed and what was asked of make and the engine."""
    ended = subprocess.run(
        [SCRIPT],
        env={"PATH": f"{tools}:{os.defpath}", "HOME": str(tools)},
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    said = tools / "said"
    return ended.stdout, said.read_text().splitlines() if said.exists() else []


def test_an_engine_is_started_for_the_run_and_stopped_after_it(tools: Path) -> None:
    _, said = run(tools)
    assert said == ["images 1", "containers PYTEST_FLAGS=-k four_participants 1", "stopped"]
    assert not (tools / "up").exists()


def test_an_engine_that_was_there_stays(tools: Path) -> None:
    (tools / "up").touch()
    _, said = run(tools)
    assert "stopped" not in said
    assert (tools / "up").exists()


def test_a_host_without_buildkit_builds_on_its_own_network(tools: Path) -> None:
    """The plain way is tried first; what worked is what the tests' own build gets, too."""
    (tools / "no-buildkit").touch()
    _, said = run(tools)
    assert said[0] == "images 1"
    assert said[1] == "images 0 --network host"
    assert said[2] == "containers PYTEST_FLAGS=-k four_participants 0 --network host"


@pytest.mark.parametrize(
    ("lacking", "sentence"),
    [
        ("images", "the image rabbitmq:4-management is not here and cannot be pulled"),
        ("dockerd", "dockerd did not come up"),
        ("id", "no Docker Engine answers here, and only root can start one"),
    ],
)
def test_what_cannot_be_is_left_out_in_words(tools: Path, lacking: str, sentence: str) -> None:
    """And the gate goes on."""
    replacement = {
        "images": "python:3.11-slim\n",
        "dockerd": "#!/bin/bash\nexit 1\n",
        "id": "#!/bin/bash\necho 1000\n",
    }
    (tools / lacking).write_text(replacement[lacking])
    printed, said = run(tools)
    assert f"left out: {sentence}" in printed
    assert not [line for line in said if line != "stopped"]

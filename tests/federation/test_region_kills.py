"""A tree whose coordinators are killed again and again ends as if nobody had been."""

import os
import random
import time
from pathlib import Path
from typing import Any

import pytest

from tests.federation.test_regions import start_participants
from tests.federation.tiny_tasks import MODULE

KILLS = int(os.environ.get("FANFOLD_TEST_REGION_KILLS", "6"))
ROUNDS_BETWEEN = 5
TINY = f"{MODULE}:Tiny"
REGIONS = ("middle", "deep")
"""A region of the root, and a region of that one."""


class Tree:
    """A root and its regions as processes; each may be killed and is started again."""

    def __init__(
        self, live: Any, out: Path, rounds: int, *, task: str = TINY, down: str = "float32"
    ) -> None:
        self._live, self._out, self._rounds = live, out, rounds
        self._task, self._down = task, f"--encoding-down={down}"
        self.members = {name: self._start(name) for name in ("root", *REGIONS)}

    def _start(self, name: str) -> Any:
        if name == "root":
            return self._live.command(
                *("coordinator", f"--federation={self._live.name}", f"--task={self._task}"),
                *("--device=cpu", "--json", "--threads=1", self._down),
                *(f"--out={self._out / 'root'}", f"--rounds={self._rounds}", "--lr=0.1"),
                *("--min-participants=2", "--max-region-updates=3"),
                *("--encoding=fixed", "--max-examples=5", "--reconnect-seconds=0.5"),
            )
        above = self._live.name if name == "middle" else "middle"
        return self._live.command(
            *("region", f"--id={name}", f"--upstream-federation={above}"),
            *(f"--upstream-broker={self._live.url}", f"--federation={name}", "--json"),
            *(f"--out={self._out / name}", "--min-participants=2", "--reconnect-seconds=0.5"),
            *("--max-region-updates=2", self._down),
        )

    def wait_for_round(self, number: int) -> None:
        """Read on to a round of the root."""
        self.members["root"].wait_for("round_closed", round=number)

    def kill(self, name: str) -> None:
        """Kill a process, and start another one in its place."""
        self.members[name].kill()
        self.members[name] = self._start(name)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_tree_under_kills_ends_with_the_model_of_the_flat_run(live: Any, tmp_path: Path) -> None:
    """In fixed point: an update lost, or counted twice, would be seen in the bits."""
    rounds = ROUNDS_BETWEEN * (KILLS + 1)
    options: dict[str, Any] = {"encoding": "fixed", "max_examples": 5, "rounds": rounds}
    flat = live.coordinator("Tiny", out=tmp_path / "flat", min_participants=4, **options)
    start_participants(live, **{live.name: (0, 1, 2, 3)})
    expected = flat.result.result(180)
    live.stop_all()

    start_participants(live, **{live.name: (0,), "middle": (1,), "deep": (2, 3)})
    tree = Tree(live, tmp_path, rounds)
    chance = random.Random(0)
    for kill in range(KILLS):
        tree.wait_for_round(ROUNDS_BETWEEN * (kill + 1))
        time.sleep(chance.uniform(0, 0.1))  # anywhere in the rounds that follow
        tree.kill(("middle", "root", "deep")[kill % 3])
    finished = tree.members["root"].wait_for("run_finished")
    assert finished["parameters_sha256"] == expected.parameters_sha256
    for name in REGIONS:
        assert tree.members[name].wait_for("run_finished")["upstream_version"] == rounds
        code, stderr = tree.members[name].terminate()
        assert (code, "Traceback" in stderr) == (0, False), stderr

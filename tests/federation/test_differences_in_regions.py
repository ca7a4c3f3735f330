"""Facts about differences in a tree: a root sends its own, and so does each region."""

from pathlib import Path
from typing import Any

import pytest

from tests.federation.test_differences import TASK, simulated
from tests.federation.test_region_kills import Tree
from tests.federation.test_regions import REGIONS, start_region

pytestmark = pytest.mark.slow
ROUNDS = 6
DIFFERENCE = "difference:int8"
PATIENCE_SECONDS = 120


def start_participants(live: Any, **regions: tuple[int, ...]) -> list[Any]:
    return [
        live.participant(TASK, index, 4, federation=federation)
        for federation, indices in regions.items()
        for index in indices
    ]


def grown(live: Any, out: Path, *, above: str, below: str) -> tuple[Any, list[Any], list[Any]]:
    """Run a tree to its end; return the root, the regions and the participants."""
    sums = {"encoding": "fixed", "max_examples": 5, "max_region_updates": 2}
    options = {"rounds": ROUNDS, "min_participants": 2, "encoding_down": above, "threads": 1}
    root = live.coordinator(TASK, out=out, **sums, **options)
    regions = [start_region(live, name, out.parent, encoding_down=below) for name in REGIONS]
    participants = start_participants(live, **REGIONS)
    root.result.result(PATIENCE_SECONDS)
    for each in participants:
        each.wait_for("version_received", times=ROUNDS)
    for each in [*regions, *participants]:
        assert not each.all("difference_not_applied")
    return root, regions, participants


def come_as_differences(services: list[Any]) -> bool:
    """Whether all versions but the first came to each of them as differences."""
    come = [[got["bytes"] for got in each.all("version_received")] for each in services]
    return all(max(later) < first / 3 for first, *later in come)


@pytest.mark.parametrize(("above", "below"), [(DIFFERENCE, "float32"), ("float32", DIFFERENCE)])
def test_where_one_level_sends_differences_a_tree_ends_with_the_model_of_the_flat_run(
    live: Any, tmp_path: Path, above: str, below: str
) -> None:
    """In fixed point bit for bit; what the other level sends is no matter of this one."""
    root, regions, participants = grown(live, tmp_path / "root", above=above, below=below)
    assert come_as_differences(regions) == (above == DIFFERENCE)
    assert come_as_differences(participants) == (below == DIFFERENCE)
    options = {"encoding": "fixed", "max_examples": "5"}
    flat = simulated(tmp_path / "flat", DIFFERENCE, ROUNDS, participants=4, **options)
    assert root.result.result().parameters_sha256 == flat


@pytest.mark.timeout(600)
def test_a_tree_that_sends_differences_on_all_levels_has_the_same_bits_under_kills(
    live: Any, tmp_path: Path
) -> None:
    """A region that was started again asks for the whole version, and goes on where it was."""
    hashes = []
    for name, kills in (("calm", ()), ("killed", ((2, "middle"), (3, "root"), (4, "deep")))):
        participants = start_participants(live, **{live.name: (0,), "middle": (1,), "deep": (2, 3)})
        tree = Tree(live, tmp_path / name, ROUNDS, task=TASK, down=DIFFERENCE)
        for number, member in kills:
            tree.wait_for_round(number)
            tree.kill(member)
        hashes.append(tree.members["root"].wait_for("run_finished")["parameters_sha256"])
        for member in ("middle", "deep"):
            tree.members[member].terminate()
        assert kills or come_as_differences(participants)
        live.stop_all()
    assert hashes[0] == hashes[1]

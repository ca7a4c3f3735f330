"""Facts about docs/performance.md: it shows what was measured, and nothing else."""

import json

import pytest

from benchmarks import page
from benchmarks.results import FOLDER, Row

TARGETS = (
    *("overhead", "large", "flower", "memory", "updates", "training", "encodings"),
    "differences",
    *("accuracy", "stragglers", "thousand", "thousand-container"),
)


def test_the_page_shows_the_results_as_they_are() -> None:
    """`python -m benchmarks.page` was run after the last benchmark."""
    text = page.PAGE.read_text()
    assert page.filled(text) == text


@pytest.mark.parametrize("target", TARGETS)
def test_every_benchmark_has_a_place_on_the_page(target: str) -> None:
    assert f"<!-- bench-{target} -->" in page.PAGE.read_text()


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.json")), ids=lambda path: path.stem)
def test_every_row_has_something_beside_it(path: object) -> None:
    """A number alone says nothing."""
    rows = json.loads((FOLDER / str(path)).read_text())
    assert rows
    for row in rows:
        assert row["unit"], row
        assert (row["floor"], row["peer"]) != (None, None), row


def test_ratios_say_how_far_from_the_floor_and_how_far_ahead_of_the_peer() -> None:
    row = Row("case", ours=2.0, floor=1.0, peer=10.0, unit="s")
    assert row.to_floor == 2.0
    assert row.to_ours == 5.0
    assert Row("case", ours=2.0, unit="s").to_floor is None

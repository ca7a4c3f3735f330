"""Facts about the straight line that tells growth from noise."""

import random

import pytest

from benchmarks.growth import Line, line_through

MINUTES = [index / 12 for index in range(240)]


def noise(seed: int, alike: float) -> list[float]:
    """Return values around 500, each of which keeps a part of the deviation of the one before."""
    dice, value, values = random.Random(seed), 0.0, []
    for _ in MINUTES:
        value = alike * value + dice.gauss(0, 1)
        values.append(500 + value)
    return values


def test_a_line_is_found_exactly() -> None:
    """Slope, error and rise of points that lie on it."""
    line = line_through([0.0, 1.0, 2.0, 3.0], [5.0, 7.0, 9.0, 11.0])
    assert (line.slope, line.error, line.gain, line.mean) == (2.0, 0.0, 6.0, 8.0)


@pytest.mark.parametrize("alike", [0.0, 0.8])
def test_noise_does_not_grow(alike: float) -> None:
    """Nor does it where values resemble the ones before them: one of a hundred may."""
    grown = sum(line_through(MINUTES, noise(seed, alike)).grows(0.0) for seed in range(100))
    assert grown <= 2


@pytest.mark.parametrize("alike", [0.0, 0.8])
def test_what_leaks_grows(alike: float) -> None:
    """A rise of twice the noise within the run is found in all of a hundred."""
    leak = [2.0 * (1 + 3 * (alike > 0)) * minute / MINUTES[-1] for minute in MINUTES]
    for seed in range(100):
        values = [a + b for a, b in zip(noise(seed, alike), leak, strict=True)]
        assert line_through(MINUTES, values).grows(0.5)


@pytest.mark.parametrize(
    ("slope", "error", "verdict"),
    [(0.5, 0.1, "flat"), (3.0, 0.5, "grows"), (3.0, 1.7, "unsure"), (-3.0, 0.1, "flat")],
)
def test_a_rise_may_be_too_much_and_unsure(slope: float, error: float, verdict: str) -> None:
    """Of 4 that are allowed within seven minutes; a longer run tells."""
    line = Line(mean=400.0, slope=slope, error=error, minutes=7.0)
    assert line.verdict(4.0) == verdict


def test_a_rise_that_is_allowed_is_no_growth() -> None:
    """However sure it is."""
    line = line_through(MINUTES, [500 + minute / 100 for minute in MINUTES])
    assert line.slope > 0
    assert not line.grows(1.0)

"""Facts about the weight of stale updates."""

import pytest

from fanfold.coordinator.aggregation.staleness import parse_staleness
from fanfold.schemas.errors import InvalidInputError


def test_the_default_halves_at_three() -> None:
    """(1 + tau)^-0.5, as in FedAsync with a = 0.5."""
    weight = parse_staleness("polynomial:0.5")
    assert [round(weight(tau), 7) for tau in (0, 1, 3, 8, 15)] == [
        1.0,
        0.7071068,
        0.5,
        0.3333333,
        0.25,
    ]


def test_constant_and_hinge() -> None:
    """Constant forgives everything, a hinge everything up to its threshold."""
    assert {parse_staleness("constant")(tau) for tau in range(20)} == {1.0}
    hinge = parse_staleness("hinge:10:4")
    assert [hinge(tau) for tau in (0, 4, 5, 14)] == [1.0, 1.0, 1 / 11, 1 / 101]


@pytest.mark.parametrize("spec", ["constant", "polynomial:0.5", "hinge:1:2", "polynomial:0"])
def test_a_fresh_update_weighs_one(spec: str) -> None:
    """So that without staleness every family is plain averaging."""
    assert parse_staleness(spec)(0) == 1.0


@pytest.mark.parametrize(
    "spec",
    ["", "linear:1", "polynomial", "polynomial:x", "polynomial:-1", "hinge:1", "hinge:inf:1"],
)
def test_anything_else_is_refused(spec: str) -> None:
    """One sentence, with an example of what would do."""
    with pytest.raises(InvalidInputError, match=r"is not understood; use .*polynomial:0\.5"):
        parse_staleness(spec)

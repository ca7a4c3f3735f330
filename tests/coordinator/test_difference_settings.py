"""Versions may travel as differences in every mode but one; one sentence says why not there."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from fanfold.coordinator.settings import CoordinatorSettings
from fanfold.region.settings import RegionSettings
from fanfold.schemas.errors import InvalidInputError

DOWN = {"encoding_down": "difference:int8"}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (
            {"mode": "exact"},
            r"participants train on another one; choose float32.*or another --mode",
        ),
        ({"encoding_down": "difference:zip"}, "unknown encoding 'zip'"),
        ({"encoding_down": "difference:"}, "unknown encoding ''"),
        ({"encoding_down": "difference:float32"}, "as large as the version; choose difference:in"),
        ({"encoding_down": "topk:0.1"}, "int8, or difference:topk:0.1"),
    ],
)
def test_what_does_not_go_with_differences_is_refused(given: dict[str, Any], words: str) -> None:
    with pytest.raises((ValidationError, InvalidInputError), match=words):
        CoordinatorSettings(**(DOWN | given))


@pytest.mark.parametrize(
    "given",
    [
        {"mode": "async"},
        {"mode": "buffered"},
        {"max_staleness": 2},
        {"fraction": 0.5},
        {"max_region_updates": 3},
        {"dp_clip": 1.0, "dp_noise": 1.0},
        {"dp_clip": 1.0, "dp_noise": 1.0, "encoding_down": "difference:topk:0.1"},
        {"masks": (Path("hub.pub"),), "encoding": "fixed"},
        {"identity": Path("keys")},
    ],
)
def test_differences_go_with_everything_else(given: dict[str, Any]) -> None:
    """What an update is, and who reads it, is no matter of the way down."""
    settings = CoordinatorSettings(**(DOWN | given))
    assert settings.encoding_down.startswith("difference:")


def test_a_region_sends_differences_if_it_is_told_to() -> None:
    """However versions come from above."""
    given = {"upstream_broker": ("amqp://h",), "upstream_federation": "above", "id": "north"}
    settings = RegionSettings(**given, federation="below", broker=("amqp://h",), **DOWN)
    assert settings.encoding_down == "difference:int8"


@pytest.mark.parametrize("encoding", ["int8", "topk:0.01", "fixed", "float32"])
def test_updates_may_travel_in_any_encoding_meanwhile(encoding: str) -> None:
    assert CoordinatorSettings(**DOWN, encoding=encoding).encoding == encoding

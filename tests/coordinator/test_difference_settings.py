"""Where versions cannot travel as differences, one sentence says so, and which option moves it."""

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
        ({"mode": "async"}, "set --mode sync and leave --max-staleness out"),
        ({"mode": "buffered"}, "set --mode sync"),
        ({"mode": "exact"}, "set --mode sync"),
        ({"max_staleness": 2}, "leave --max-staleness out"),
        ({"fraction": 0.5}, "leave --fraction out"),
        ({"max_region_updates": 3}, "does not go with --max-region-updates"),
        ({"dp_clip": 1.0, "dp_noise": 1.0}, "does not go with --dp-clip"),
        ({"masks": (Path("hub.pub"),), "encoding": "fixed"}, "does not go with --masks"),
        ({"identity": Path("keys")}, "does not go with --identity"),
        ({"encoding_down": "difference:zip"}, "unknown encoding 'zip'"),
        ({"encoding_down": "difference:"}, "unknown encoding ''"),
        ({"encoding_down": "difference:float32"}, "as large as the version; choose difference:in"),
        ({"encoding_down": "topk:0.1"}, "int8, or difference:topk:0.1"),
    ],
)
def test_what_does_not_go_with_differences_is_refused(given: dict[str, Any], words: str) -> None:
    with pytest.raises((ValidationError, InvalidInputError), match=words):
        CoordinatorSettings(**(DOWN | given))


def test_a_region_sends_whole_versions() -> None:
    given = {"upstream_broker": ("amqp://h",), "upstream_federation": "above", "id": "north"}
    with pytest.raises((ValidationError, InvalidInputError), match="a region sends whole versions"):
        RegionSettings(**given, federation="below", broker=("amqp://h",), **DOWN)


@pytest.mark.parametrize("encoding", ["int8", "topk:0.01", "fixed", "float32"])
def test_updates_may_travel_in_any_encoding_meanwhile(encoding: str) -> None:
    assert CoordinatorSettings(**DOWN, encoding=encoding).encoding == encoding

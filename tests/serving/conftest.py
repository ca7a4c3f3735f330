"""What the tests of the service share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.serving.served import ServedFederation


@pytest.fixture
def served(broker_url: str, federation: str, tmp_path: Path) -> Iterator[ServedFederation]:
    """A federation with nobody in it yet."""
    served = ServedFederation(broker_url, federation, tmp_path / "served")
    try:
        yield served
    finally:
        served.close()

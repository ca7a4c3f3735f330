"""Facts about an update that the coordinator refused: who trains its version again, and who not."""

import queue
from pathlib import Path

import pytest

from participant.work import Answered
from schemas.messages import UpdateRefused
from tests.participant.small_slot import Desk, slot_over


def refused(*, again: bool) -> UpdateRefused:
    return UpdateRefused(run="run", base_version=0, reason="non-finite values", again=again)


def answer(delivered: "queue.Queue[object]") -> Answered:
    answered = delivered.get(timeout=60)
    assert isinstance(answered, Answered)
    return answered


@pytest.mark.parametrize("again", [True, False])
def test_only_the_next_start_trains_a_refused_version_again(tmp_path: Path, again: bool) -> None:
    """And only where another update could count: this process would train the very same."""
    made, version, delivered = slot_over(tmp_path, Desk())
    made.submit(version)
    assert answer(delivered).trained is not None
    made.refused(refused(again=again))
    made.submit(version)
    assert answer(delivered).trained is None
    made.close()

    next_start, _, delivered = slot_over(tmp_path, Desk())
    next_start.submit(version)
    assert (answer(delivered).trained is not None) == again
    next_start.close()

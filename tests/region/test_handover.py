"""Facts about what two threads of a region hand each other."""

import pytest

from fanfold.learning import TrainingAbandoned
from fanfold.region.handover import Handover
from fanfold.region.sums import VersionFromAbove
from fanfold.schemas.events.participant import RunOver
from fanfold.schemas.messages import GlobalParameters, TrainingPlan


def hand_down(handover: Handover, run: str) -> None:
    plan = TrainingPlan(epochs=1, batch_size=1, lr=0.1)
    message = GlobalParameters(run=run, version=0, rounds=9, plan=plan)
    with pytest.raises(TrainingAbandoned, match="abandoned"):
        handover.sum_for(VersionFromAbove(message, "a" * 64, {}, {}), lambda: True)


def test_the_end_of_a_run_is_known_until_it_goes_on() -> None:
    """The next run may begin before the coordinator below has told how this one ended."""
    handover = Handover()
    hand_down(handover, "r")
    assert not handover.is_over("r")
    handover.finished(RunOver("r", 9, accuracy=0.5))
    hand_down(handover, "s")
    assert handover.is_over("r")
    assert handover.outcome("r") == RunOver("r", 9, accuracy=0.5)
    hand_down(handover, "r")
    assert not handover.is_over("r")
    assert handover.outcome("r") is None

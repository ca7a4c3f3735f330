"""Events in words, where a field means one thing in one event and another in the next."""

from fanfold.schemas.events.event import InRun
from fanfold.schemas.events.participant import OwnUpdateRefused
from fanfold.schemas.events.service import ServiceStarted
from fanfold.schemas.events.shared import TrainingNote
from fanfold.views.sentences import sentence


def test_a_started_service_is_told_in_words() -> None:
    """How many runs there are is a number, and not a comparison of runs."""
    told = ServiceStarted("clinics", folder="runs/service", runs=3, parallel_runs=2)
    assert sentence(told) == (
        "the federation clinics is served: 3 runs in runs/service, 2 at a time"
    )


def test_what_one_of_several_runs_tells_begins_with_its_name() -> None:
    told = InRun("first", TrainingNote("as it is"))
    assert sentence(told) == "first: as it is"
    assert told.document() == {"event": "training_note", "note": "as it is", "in_run": "first"}


def test_a_participant_is_told_which_of_its_updates_is_refused() -> None:
    """The coordinator's event of the same name says whose it is, too."""
    told = OwnUpdateRefused(3, "non-finite values: in 'weight'")
    assert sentence(told) == "the update on version 3 is refused: non-finite values: in 'weight'"

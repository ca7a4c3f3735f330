"""Names on the broker can be told apart."""

import pytest

from fanfold.schemas.errors import InvalidInputError
from fanfold.schemas.names import FederationNames


def test_no_exchange_shares_a_name_with_a_queue() -> None:
    names = FederationNames("digits")
    exchanges = {names.parameters_exchange, names.resend_exchange, names.reports_exchange}
    queues = {
        names.participant_queue("alice"),
        names.coordinator_queue,
        names.results_queue,
        names.events_queue,
        names.dead_letters_queue,
    }
    assert len(exchanges) == 3
    assert len(queues) == 5
    assert not exchanges & queues
    assert all(name.startswith("digits.") for name in exchanges | queues)


@pytest.mark.parametrize("name", ["", "a.b", "a b", "amq.x", "é", "a" * 65, "a\n"])
def test_a_name_that_could_be_mistaken_is_refused(name: str) -> None:
    with pytest.raises(InvalidInputError, match=r"the federation .* choose another name"):
        FederationNames(name)
    with pytest.raises(InvalidInputError, match=r"the participant .* choose another name"):
        FederationNames("digits").participant_queue(name)


def test_the_names_of_a_run_are_no_names_of_a_federation() -> None:
    """Nobody who may use a federation's own names reaches a run's, and the reverse."""
    federation, run = FederationNames("digits"), FederationNames("digits", run="results")
    assert run.results_queue == "digits.run.results.results"
    assert run.participant_queue("alice") == "digits.run.results.participant.alice"
    assert run.parameters_exchange != federation.parameters_exchange


@pytest.mark.parametrize("run", ["", "a.b", "#", "a" * 65])
def test_a_run_that_could_be_mistaken_is_refused(run: str) -> None:
    with pytest.raises(InvalidInputError, match=r"the run .* choose another name"):
        FederationNames("digits", run=run)

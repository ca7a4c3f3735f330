"""Names on the broker can be told apart."""

import pytest

from fanfold.schemas.errors import InvalidInputError
from fanfold.schemas.names import FederationNames


def test_no_exchange_shares_a_name_with_a_queue() -> None:
    names = FederationNames("digits")
    exchanges = {
        *(names.parameters_exchange, names.resend_exchange, names.reports_exchange),
        *(names.requests_exchange, names.answers_exchange),
    }
    queues = {
        names.participant_queue("alice"),
        names.coordinator_queue,
        names.results_queue,
        names.events_queue,
        names.dead_letters_queue,
        names.operations_queue,
        names.operator_queue("root", "1"),
    }
    assert len(exchanges) == 5
    assert len(queues) == 7
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


def test_an_open_run_is_named_like_a_federation() -> None:
    names = FederationNames.of("digits.run.first")
    assert names == FederationNames("digits", run="first")
    assert FederationNames.of("digits") == FederationNames("digits")


@pytest.mark.parametrize("name", ["digits.run.", "digits.run.a.b", ".run.first"])
def test_half_a_name_of_a_run_is_refused(name: str) -> None:
    with pytest.raises(InvalidInputError, match=r"the (run|federation) .* choose another name"):
        FederationNames.of(name)


def test_a_login_of_any_characters_can_name_an_operators_queue() -> None:
    queue = FederationNames("F").operator_queue("o.p*s", "1")
    assert queue == "F.operator.o-p-s.1"

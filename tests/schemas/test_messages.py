"""Messages are strict, frozen, and complete."""

import pytest
from pydantic import ValidationError

from fanfold.schemas.difference_message import GlobalDifference
from fanfold.schemas.message_kinds import MESSAGES
from fanfold.schemas.messages import GlobalParameters, Hello, Message, TrainingPlan
from fanfold.schemas.operator_messages import Request


def test_every_kind_of_message_is_known_by_its_name() -> None:
    subclasses = [*Message.__subclasses__(), *Request.__subclasses__()]
    named = {kind.KIND: kind for kind in subclasses if kind is not Request}
    assert named == MESSAGES


def test_a_message_cannot_change() -> None:
    hello = Hello(participant="alice", instance="1")
    with pytest.raises(ValidationError, match="Instance is frozen"):
        hello.participant = "bob"


@pytest.mark.parametrize("name", ["", "a b", "a/b", "é", "a" * 65, "a\n"])
def test_an_id_is_letters_digits_and_two_signs(name: str) -> None:
    with pytest.raises(ValidationError, match="String should match pattern"):
        Hello(participant=name, instance="1")


def test_a_number_from_another_language_may_be_whole_where_a_fraction_is_meant() -> None:
    plan = TrainingPlan.model_validate({"lr": 1, "momentum": 0})
    assert (plan.lr, plan.momentum) == (1.0, 0.0)


@pytest.mark.parametrize(
    "field", [{"lr": float("inf")}, {"momentum": 1.0}, {"batch_size": 0}, {"epochs": True}]
)
def test_a_plan_that_cannot_train_is_refused(field: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match=next(iter(field))):
        TrainingPlan.model_validate(field)


def test_only_six_kinds_of_message_carry_tensors() -> None:
    carried = {name: kind.TENSORS for name, kind in MESSAGES.items() if kind.TENSORS != "none"}
    assert carried == {
        "FinalModel": "values",
        "GlobalParameters": "values",
        "GlobalDifference": "changes",
        "Update": "changes",
        "Masks": "values",
        "RequestAnswered": "values",
    }


def test_what_is_not_said_is_left_out_in_a_part_as_in_a_whole_message() -> None:
    """A difference holds the fields of the version that it becomes, which has a plan."""
    becomes = GlobalParameters(run="r", version=1, rounds=2, plan=TrainingPlan(lora="A"))
    digests = dict.fromkeys(("base", "digest", "sha256"), "0" * 64)
    held = GlobalDifference(run="r", version=1, becomes=becomes, **digests).model_dump()["becomes"]
    assert held == becomes.model_dump()
    assert held.keys().isdisjoint(GlobalParameters.LEFT_OUT)
    assert held["plan"]["lora"] == "A"
    assert "lora" not in TrainingPlan().model_dump()

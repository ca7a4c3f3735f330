"""Facts about the command line's options: generated from the settings, and judged all at once."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from fanfold.access.broker_environment import BROKER_VARIABLE
from fanfold.api.reading import read
from fanfold.coordinator.settings import CoordinatorSettings, TrainingSettings
from fanfold.local.commands import coordinator_settings, participant_command
from fanfold.local.settings import LocalSettings
from fanfold.participant.settings import ParticipantSettings
from fanfold.region.settings import RegionSettings
from fanfold.schemas.errors import InvalidInputError
from fanfold.schemas.messages import TrainingPlan


def test_all_mistakes_are_told_in_one_message() -> None:
    """Nobody likes to mend them one by one."""
    wrong = {
        "rounds": "-1",
        "lr": "fast",
        "goal": "some",
        "staleness": "old",
        "server_optimizer": "magic",
        "encoding": "zip",
        "encoding_down": "topk:0.1",
        "federation": "a b",
    }
    with pytest.raises(InvalidInputError) as caught:
        read(CoordinatorSettings, wrong)
    sentences = str(caught.value).split("; --")
    assert len(sentences) == len(wrong)
    assert "goal 'some' must be 'all' or a whole number" in str(caught.value)
    assert "staleness 'old' is not understood" in str(caught.value)
    assert "federation 'a b' must be 1 to 64 letters, digits, '_' or '-'" in str(caught.value)
    assert "leaves values out" in str(caught.value)


def test_what_is_missing_is_named() -> None:
    """A participant needs a name of its own, or one that a slot gives; a region has no slots."""
    with pytest.raises(
        InvalidInputError,
        match=r"^--id is missing; name this participant, or let it take one of --slots N$",
    ):
        read(ParticipantSettings, {"id": None})
    with pytest.raises(InvalidInputError, match=r"^--id is missing: the region's id there"):
        read(RegionSettings, {})


def test_text_becomes_what_the_settings_say() -> None:
    """Numbers, paths, and the goal that is a word or a number."""
    settings = read(
        CoordinatorSettings, {"goal": "3", "lr": "0.5", "out": "x", "resume": "no", "broker": ()}
    )
    assert (settings.goal, settings.lr, settings.out, settings.resume) == (3, 0.5, Path("x"), False)
    assert read(CoordinatorSettings, {"goal": "all"}).goal == "all"


def test_the_broker_may_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several addresses are divided by spaces; an option wins."""
    monkeypatch.setenv(BROKER_VARIABLE, "amqp://one amqp://two")
    assert read(CoordinatorSettings, {}).broker == ("amqp://one", "amqp://two")
    assert read(CoordinatorSettings, {"broker": ["amqp://three"]}).broker == ("amqp://three",)


def test_fanfold_local_waits_sixty_seconds_at_a_deadline() -> None:
    """On one machine nobody is far away."""
    assert read(LocalSettings, {}).deadline_seconds == 60.0
    assert read(CoordinatorSettings, {}).deadline_seconds == 600.0


@pytest.mark.parametrize("mode", ["sync", "buffered", "async"])
def test_a_private_federation_on_this_machine_may_have_any_mode(tmp_path: Path, mode: str) -> None:
    """What nobody gave is not given to the coordinator either, which would take it for a wish."""
    options = {"mode": mode, "dp_clip": "1", "dp_noise": "1", "out": str(tmp_path)}
    settings = read(LocalSettings, options)
    given = coordinator_settings(settings)
    assert (given.mode, given.dp_clip, given.min_participants) == (mode, 1.0, 4)
    assert given.deadline_seconds == 60.0
    assert "staleness" not in given.model_fields_set


def test_participants_on_this_machine_train_as_privately_as_asked(tmp_path: Path) -> None:
    """With a folder of its own for each, where what was spent is kept."""
    options = {"dp_sgd_clip": "0.5", "dp_sgd_noise": "2", "out": str(tmp_path)}
    settings = read(LocalSettings, options)
    flags = participant_command(settings, 0)
    assert {"--dp-sgd-clip=0.5", "--dp-sgd-noise=2.0"} <= set(flags)
    assert f"--state-dir={tmp_path / 'participants' / 'participant-0'}" in flags


def test_fanfold_local_waits_for_all_its_participants_unless_told_otherwise() -> None:
    """Round 1 opens with everybody, or with as many as were asked for."""
    assert read(LocalSettings, {"participants": "7"}).min_participants == 7
    given = {"participants": "7", "min_participants": "2"}
    assert read(LocalSettings, given).min_participants == 2
    with pytest.raises(InvalidInputError, match="would wait for ever: there are --participants 4"):
        read(LocalSettings, {"min_participants": "5"})


def test_every_option_of_the_coordinator_is_one_of_fanfold_local() -> None:
    """Training and round options are the same on both; keys are made for it, with --sealed."""
    missing = CoordinatorSettings.model_fields.keys() - LocalSettings.model_fields.keys()
    assert missing == {"identity", "roster"}


@pytest.mark.parametrize("model", [CoordinatorSettings, LocalSettings, ParticipantSettings])
def test_every_option_has_a_sentence(model: type[BaseModel]) -> None:
    """The settings are the help."""
    assert [name for name, field in model.model_fields.items() if not field.description] == []


@pytest.mark.parametrize("name", [each for each in TrainingPlan.model_fields if each != "lora"])
def test_what_the_settings_take_can_travel(name: str) -> None:
    """Defaults and bounds are those of the plan in every message."""

    def bounds(model: type[BaseModel]) -> dict[str, Any]:
        schema = model.model_json_schema()["properties"][name]
        chosen = schema.get("anyOf", [schema])[0] | {"default": schema.get("default")}
        known = {"minimum", "maximum", "exclusiveMaximum", "pattern", "default", "type"}
        return {key: value for key, value in chosen.items() if key in known}

    assert bounds(TrainingSettings) == bounds(TrainingPlan)


@pytest.mark.parametrize(
    ("mode", "goal", "max_staleness", "only_fresh"),
    [("sync", "all", 0, True), ("buffered", 3, 20, False), ("async", 1, 20, False)],
)
def test_a_mode_is_a_name_for_a_rule(
    mode: str, goal: object, max_staleness: int, only_fresh: bool
) -> None:
    """Both numbers can be set."""
    policy = read(CoordinatorSettings, {"mode": mode}).policy
    assert (policy.goal, policy.max_staleness, policy.only_fresh_count) == (
        goal,
        max_staleness,
        only_fresh,
    )
    other = read(CoordinatorSettings, {"mode": mode, "goal": "2", "max_staleness": "7"}).policy
    assert (other.goal, other.max_staleness) == (2, 7)


def test_passwords_are_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not in a log that prints the settings."""
    show: list[Callable[[Any], str]] = [repr, str]
    for settings in (
        read(CoordinatorSettings, {"broker": ["amqp://u:secret@h"]}),
        read(ParticipantSettings, {"broker": ["amqp://u:secret@h"], "id": "ann"}),
    ):
        assert all("secret" not in shown(settings) for shown in show)

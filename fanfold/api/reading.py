"""Settings from options, with every mistake in one sentence."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from fanfold.access.broker_environment import (
    BROKER_VARIABLE,
    UPSTREAM_VARIABLE,
    broker_of_the_environment,
)
from fanfold.access.credentials import Credentials, Role
from fanfold.schemas.errors import InvalidInputError

Settings = TypeVar("Settings", bound=BaseModel)
BROKERS = {"broker": BROKER_VARIABLE, "upstream_broker": UPSTREAM_VARIABLE}
"""Fields that the environment gives where no option does."""


def read(
    model: type[Settings],
    options: Mapping[str, Any],
    credentials: Path | None = None,
    *,
    role: Role | None = None,
) -> Settings:
    """Return the settings from the options and a credentials file.

    Args:
        model: the class of the settings.
        options: by name of the field; None or an empty tuple if not given.
        credentials: a file that `fanfold enroll` made.
        role: the role that the file must be for; None accepts any.

    Raises:
        InvalidInputError: if anything is wrong; one message names all of it.
    """
    if credentials is not None:
        options = Credentials.read(credentials, role=role).options(options)
    given = {
        name: value
        for name, value in options.items()
        if name in model.model_fields and value is not None and value != ()
    }
    for name, variable in BROKERS.items():
        if name in model.model_fields and name not in given:
            given[name] = tuple(broker_of_the_environment(variable).split())
    try:
        return model(**given)
    except ValidationError as error:
        raise InvalidInputError("; ".join(_mistakes(error))) from None


def rereading(
    settings: Settings, options: Mapping[str, Any], credentials: Path | None, *, role: Role
) -> Callable[[], Settings] | None:
    """Return a function that reads the same once more; None without a credentials file.

    It raises InvalidInputError if that file cannot be used now, or is for somebody else.
    """
    if credentials is None:
        return None

    def reread() -> Settings:
        found = read(type(settings), options, credentials, role=role)
        names = {"federation", "id"} & type(settings).model_fields.keys()
        if any(getattr(found, name) != getattr(settings, name) for name in names):
            raise InvalidInputError(
                f"--credentials {credentials} is for another participant or federation now; start "
                "again to take part as that one"
            )
        return found

    return reread


def _mistakes(error: ValidationError) -> list[str]:
    """Return one sentence for each option that is wrong, also where a union has several errors."""
    by_option: dict[str, str] = {}
    for mistake in error.errors(include_url=False):
        name = str(mistake["loc"][0]) if mistake["loc"] else ""
        option = f"--{name.replace('_', '-')}"
        context = mistake.get("ctx", {})
        if mistake["type"] == "missing":
            by_option[option] = f"{option} is missing"
        elif mistake["type"] == "value_error":  # raised by a check here, with a whole sentence
            sentence = str(context["error"])
            by_option[option] = f"{option}: {sentence}" if name else sentence
        else:
            words = mistake["msg"].removeprefix("Input should be ")
            if mistake["type"] == "string_pattern_mismatch":
                words = f"text like {context['pattern']}"
            before = by_option.get(option)
            is_secret = option.endswith("-broker")  # a URL may hold a password
            shown = "" if is_secret else f" {mistake['input']!r}"
            by_option[option] = (
                f"{before} or {words}" if before else f"{option}{shown} must be {words}"
            )
    return list(by_option.values())

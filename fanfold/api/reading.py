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
IN_WORDS = {"int_parsing": "a whole number", "float_parsing": "a number"}
"""What people call the values that pydantic misses, by its type of mistake."""
NAME_PATTERN = "^[A-Za-z0-9_-]{1,64}"


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
        raise InvalidInputError("; ".join(_mistakes(error, model))) from None


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


def _mistakes(error: ValidationError, model: type[BaseModel]) -> list[str]:
    """Return one sentence for each option that is wrong, also where a union has several errors."""
    by_option: dict[str, str] = {}
    for mistake in error.errors(include_url=False):
        name = str(mistake["loc"][0]) if mistake["loc"] else ""
        option = f"--{name.replace('_', '-')}"
        context = mistake.get("ctx", {})
        if mistake["type"] == "missing":
            by_option[option] = _missing(option, name, model)
        elif mistake["type"] == "value_error":  # raised by a check here, with a whole sentence
            sentence = str(context["error"])
            by_option[option] = f"{option}: {sentence}" if name else sentence
        else:
            words = _expected(mistake["type"], mistake["msg"], context)
            before = by_option.get(option)
            is_secret = option.endswith("-broker")  # a URL may hold a password
            shown = "" if is_secret else f" {mistake['input']!r}"
            by_option[option] = (
                f"{before} or {words}" if before else f"{option}{shown} must be {words}"
            )
    return list(by_option.values())


def _missing(option: str, name: str, model: type[BaseModel]) -> str:
    """Return that an option is missing which has no default, and what it would say."""
    if name == "id" and "slots" in model.model_fields:
        return f"{option} is missing; name this participant, or let it take one of --slots N"
    description = str(model.model_fields[name].description).partition(". ")[0].rstrip(".")
    return f"{option} is missing: {description[:1].lower()}{description[1:]}"


def _expected(kind: str, message: str, context: Mapping[str, Any]) -> str:
    """Return what a value must be, in words that need no knowledge of Python or patterns."""
    pattern = context.get("pattern") if kind == "string_pattern_mismatch" else None
    if pattern is None:
        return IN_WORDS.get(kind, message.removeprefix("Input should be "))
    if pattern.startswith(NAME_PATTERN):
        return "1 to 64 letters, digits, '_' or '-'"
    return f"text like {pattern}"

"""Command-line options from settings: one source for names, defaults, help and checks."""

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from fanfold.access.broker_environment import broker_of_the_environment
from fanfold.access.credentials import Credentials, Role
from fanfold.cli.help import group_of
from fanfold.schemas.errors import InvalidInputError

Command = Callable[..., None]
Settings = TypeVar("Settings", bound=BaseModel)


def options_of(*models: type[BaseModel]) -> Callable[[Command], Command]:
    """Give a command one option for every field of the models, passed to it by name.

    The command gets every value as text, or not at all; the models convert it, so that all mistakes
    are reported at once. A field that several models have is one option.
    """
    groups = {name: group_of(model, name) for model in models for name in model.model_fields}
    fields = {name: field for model in models for name, field in model.model_fields.items()}

    def decorate(command: Command) -> Command:
        own = [
            parameter
            for parameter in inspect.signature(command).parameters.values()
            if parameter.kind is not inspect.Parameter.VAR_KEYWORD
        ]
        generated = [_parameter(name, field, groups[name]) for name, field in fields.items()]
        command.__dict__["__signature__"] = inspect.Signature([*generated, *own])  # typer reads it
        return command

    return decorate


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
    if "broker" in model.model_fields and "broker" not in given:
        given["broker"] = tuple(broker_of_the_environment().split())
    try:
        return model(**given)
    except ValidationError as error:
        raise InvalidInputError("; ".join(_mistakes(error))) from None


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
            by_option[option] = f"{option}: {context['error']}"
        else:
            words = mistake["msg"].removeprefix("Input should be ")
            if mistake["type"] == "string_pattern_mismatch":
                words = f"text like {context['pattern']}"
            before = by_option.get(option)
            shown = "" if option == "--broker" else f" {mistake['input']!r}"  # may hold a password
            by_option[option] = (
                f"{before} or {words}" if before else f"{option}{shown} must be {words}"
            )
    return list(by_option.values())


def _text(default: Any) -> str:
    return " ".join(map(str, default)) if isinstance(default, tuple) else str(default)


def _parameter(name: str, field: FieldInfo, group: str) -> inspect.Parameter:
    default = field.get_default()
    shown = "" if default in (None, PydanticUndefined, ()) else f" (default {_text(default)})"
    option = f"--{name.replace('_', '-')}"
    kind: Any
    if field.annotation is bool:
        kind, declaration = bool | None, f"{option}/--no-{name.replace('_', '-')}"
        shown = f" (default {'yes' if default else 'no'})"
    elif isinstance(default, tuple):
        kind, declaration = list[str] | None, option
    else:
        kind, declaration = str | None, option
    return inspect.Parameter(
        name,
        inspect.Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[
            kind,
            typer.Option(
                declaration,
                help=f"{field.description}{shown}",
                show_default=False,
                metavar=name.rpartition("_")[2].upper(),
                rich_help_panel=group,
            ),
        ],
    )

"""Command-line options from settings: one source for names, defaults, help and checks."""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from fanfold.access import credentials as credentials_file
from fanfold.cli.help import group_of
from fanfold.cli.metavars import metavar_of

Command = Callable[..., None]
CredentialsFile = Annotated[
    Path | None,
    typer.Option(
        "--credentials",
        envvar=credentials_file.VARIABLE,
        metavar="FILE",
        help="File made by `fanfold enroll`, with broker, login and federation.",
    ),
]


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
        # typer reads the signature; arguments without a name stand first
        in_order = sorted([*generated, *own], key=lambda parameter: parameter.kind)
        command.__dict__["__signature__"] = inspect.Signature(in_order)
        return command

    return decorate


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
                metavar=metavar_of(name, field.annotation),
                rich_help_panel=group,
            ),
        ],
    )

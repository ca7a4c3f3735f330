"""Keyword arguments that are the command line's options, and sentences that name them so."""

import inspect
import re
from collections.abc import Callable, Container, Iterator, Mapping
from contextlib import contextmanager
from difflib import get_close_matches
from typing import Any, TypeVar

from pydantic import BaseModel

from fanfold.learning.errors import LearningError
from fanfold.schemas.errors import InvalidInputError

Function = TypeVar("Function", bound=Callable[..., Any])
OPTION = re.compile(r"--(no-)?([a-z][a-z-]*)")


def keywords_of(*models: type[BaseModel]) -> Callable[[Function], Function]:
    """Show the options of settings in a function's signature, and explain them in its docstring.

    The function takes them as `**options`. Names that it has itself stay its own.
    """

    def decorate(function: Function) -> Function:
        own = [
            parameter
            for parameter in inspect.signature(function).parameters.values()
            if parameter.kind is not inspect.Parameter.VAR_KEYWORD
        ]
        fields = {name: field for model in models for name, field in model.model_fields.items()}
        known = {parameter.name for parameter in own}
        keywords = [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=field.get_default())
            for name, field in fields.items()
            if name not in known
        ]
        listed = [
            f"    {word.name}: {_in_keywords(fields[word.name].description or '', fields)}"
            for word in keywords
        ]
        told = inspect.cleandoc(function.__doc__ or "")
        function.__dict__["__signature__"] = inspect.Signature([*own, *keywords])
        function.__doc__ = "\n".join([told, "", "Options:", *listed, ""])
        return function

    return decorate


def checked(options: Mapping[str, Any], *models: type[BaseModel]) -> dict[str, Any]:
    """Return options for `read`: classes by name, and a single value where there may be more.

    Raises:
        InvalidInputError: if there is no such option; the sentence names the nearest one.
    """
    fields = {name: field for model in models for name, field in model.model_fields.items()}
    for name in options:
        if name not in fields:
            near = get_close_matches(name, fields, 1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise InvalidInputError(f"there is no option {name!r}{hint}")
    options = {name: _name_of(value) for name, value in options.items() if value is not None}
    several = {name for name, field in fields.items() if isinstance(field.get_default(), tuple)}
    return {
        name: (value,) if name in several and not isinstance(value, list | tuple) else value
        for name, value in options.items()
    }


@contextmanager
def in_keywords(*models: type[BaseModel]) -> Iterator[None]:
    """Turn what a user did wrong into `InvalidInputError`, whose sentence names keywords.

    Raises:
        InvalidInputError: in place of it, and of errors about a task, its data or its network.
    """
    names = {name for model in models for name in model.model_fields}
    try:
        yield
    except InvalidInputError as error:
        error.args = (_in_keywords(str(error), names), *error.args[1:])
        raise
    except LearningError as error:
        raise InvalidInputError(_in_keywords(str(error), names)) from error


def _in_keywords(sentence: str, names: Container[str]) -> str:
    """Return a sentence with `--some-option` as `some_option`, where that is one of the names."""

    def keyword(found: re.Match[str]) -> str:
        name = found[2].replace("-", "_")
        if name not in names:
            return found[0]
        return f"{name}=False" if found[1] else name

    return OPTION.sub(keyword, sentence)


def _name_of(value: Any) -> Any:
    """Return the name under which a class is loaded, and anything else as it is."""
    return f"{value.__module__}:{value.__qualname__}" if isinstance(value, type) else value

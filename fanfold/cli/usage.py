"""Tells a wrong use of the command line in one sentence, in the place of typer's usage lines."""

from typing import Any, cast

import typer

UsageError = cast("type[Exception]", typer.BadParameter.__bases__[0])
"""What typer raises for a wrong use: click's, which typer carries with it and does not export."""


def is_help(error: Exception) -> bool:
    """Return whether nothing was typed but the name of a program that shows its help then."""
    return type(error).__name__ == "NoArgsIsHelpError"


def said(error: Any) -> str:
    """Return what is wrong, and where it is written what is right.

    Args:
        error: a `UsageError`.
    """
    what = str(error.format_message()).rstrip(".")
    command = "fanfold" if error.ctx is None else error.ctx.command_path
    what = f"{what[:1].lower()}{what[1:]}".replace(". Did you mean", "; did you mean")
    return f"{what}{' See' if what.endswith('?') else '; see'} `{command} --help`"

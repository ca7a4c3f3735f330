"""Refuses an option that is given twice, where it takes one value."""

from collections import Counter
from typing import Any

from typer.core import TyperCommand, TyperOption

from fanfold.schemas.errors import InvalidInputError


class GivenOnceCommand(TyperCommand):
    """A command that does not choose between two values of one option by itself."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the arguments.

        Raises:
            InvalidInputError: if an option that takes one value is given twice.
        """
        _, _, order = self.make_parser(ctx).parse_args(args=[*args])
        for parameter, times in Counter(order).items():
            if times > 1 and isinstance(parameter, TyperOption) and _takes_one_value(parameter):
                name = "/".join((*parameter.opts, *parameter.secondary_opts))
                raise InvalidInputError(
                    f"{name} is given {times} times, and takes one value; give it once"
                )
        return super().parse_args(ctx, args)


def _takes_one_value(option: TyperOption) -> bool:
    """Return whether a second one would replace the first: not `--json`, which only says yes."""
    is_only_yes = option.is_flag and not option.secondary_opts
    return not (option.multiple or option.count or is_only_yes)

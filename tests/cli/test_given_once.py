"""An option that takes one value is refused where it is given twice, by every command."""

from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from fanfold.cli.commands import app
from fanfold.schemas.errors import InvalidInputError

COMMANDS: dict[str, Any] = vars(typer.main.get_command(app))["commands"]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_with_one_value_is_refused_when_it_is_given_twice(name: str) -> None:
    """One is never chosen in silence; what may be repeated is not refused."""
    for option in COMMANDS[name].params:
        if not getattr(option, "opts", [""])[0].startswith("--") or option.opts[0] == "--help":
            continue
        value = [] if option.is_flag else ["x"]
        twice = [option.opts[0], *value, option.opts[-1], *value]
        may_be_repeated = option.multiple or (option.is_flag and not option.secondary_opts)
        if may_be_repeated:
            continue
        told = CliRunner().invoke(app, [name, *twice]).exception
        assert isinstance(told, InvalidInputError), option.opts
        assert f"{option.opts[0]}" in str(told)
        assert "is given 2 times, and takes one value; give it once" in str(told)


def test_an_option_and_its_opposite_are_two_answers() -> None:
    """`--keep-broker --no-keep-broker` is refused as well."""
    told = CliRunner().invoke(app, ["local", "--keep-broker", "--no-keep-broker"]).exception
    assert isinstance(told, InvalidInputError)
    assert "--keep-broker/--no-keep-broker is given 2 times" in str(told)


def test_a_flag_may_be_said_twice() -> None:
    """It says the same again."""
    told = CliRunner().invoke(app, ["local", "--json", "--json", "--rounds", "x"]).exception
    assert isinstance(told, InvalidInputError)
    assert "--rounds 'x' must be" in str(told)

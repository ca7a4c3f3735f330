"""What the command line says of itself: its version, examples that can be typed, completions."""

import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
import typer
from pydantic import Field
from typer.testing import CliRunner

from fanfold.api.reading import read
from fanfold.check.settings import CheckSettings
from fanfold.cli.commands import app
from fanfold.cli.help import EXAMPLES
from fanfold.cli.metavars import metavar_of
from fanfold.cli.program import COMMANDS as LINES
from fanfold.coordinator.settings import CoordinatorSettings
from fanfold.local.settings import LocalSettings
from fanfold.monitoring.endpoint import release
from fanfold.participant.settings import ParticipantSettings
from fanfold.runs.settings import ReplaySettings
from fanfold.simulation.settings import SimulationSettings

COMMANDS: dict[str, Any] = vars(typer.main.get_command(app))["commands"]
SETTINGS = {
    "local": LocalSettings,
    "coordinator": CoordinatorSettings,
    "participant": ParticipantSettings,
    "simulate": SimulationSettings,
    "replay": ReplaySettings,
    "check": CheckSettings,
}


def test_the_version_is_the_distributions() -> None:
    """As `pip` knows it."""
    assert CliRunner().invoke(app, ["--version"]).output == f"fanfold {release()}\n"


def test_the_program_shows_every_command_once_uncut_in_a_group() -> None:
    """A line of 80 columns has room for the name and what it does."""
    told = CliRunner().invoke(app, ["--help"]).output
    grouped = [name for lines in LINES.values() for name in lines]
    assert sorted(grouped) == sorted(COMMANDS)
    for title, lines in LINES.items():
        assert f"\n{title}:\n" in told
        for name, line in lines.items():
            assert f"\n  {name:14}{line}\n" in told
    assert max(map(len, told.splitlines())) <= 80


@pytest.mark.parametrize(
    ("name", "annotation", "shown"),
    [
        ("max_bytes_per_second", int | None, "BYTES"),
        ("deadline_seconds", float, "SECONDS"),
        ("rounds", int, "N"),
        ("goal", Literal["all"] | Annotated[int, Field(ge=1)] | None, "all|N"),
        ("log_format", Literal["text", "json"], "text|json"),
        ("upstream_broker", tuple[str, ...], "URL"),
        ("data", tuple[Path, ...], "DIR"),
        ("upstream_ca_file", Path | None, "FILE"),
        ("task", str, "TASK"),
    ],
)
def test_an_option_shows_the_quantity_that_it_takes(
    name: str, annotation: object, shown: str
) -> None:
    """Not the last word of its name, where that is none."""
    assert metavar_of(name, annotation) == shown


@pytest.mark.parametrize("name", COMMANDS)
def test_arguments_have_a_heading_of_their_own(name: str) -> None:
    """They are no options."""
    told = CliRunner().invoke(app, [name, "--help"]).output
    takes_some = any(each.param_type_name == "argument" for each in COMMANDS[name].params)
    assert ("\nArguments:\n" in told) is takes_some


@pytest.mark.parametrize("name", COMMANDS)
def test_help_ends_with_examples_that_are_understood(name: str) -> None:
    """Each option exists, and its value is one that it takes."""
    told = CliRunner().invoke(app, [name, "--help"]).output
    shown = told.partition("\nExamples:\n")[2].splitlines()
    assert [line.strip() for line in shown] == [*EXAMPLES[name]]
    assert len(shown) in (2, 3)  # as many as a screen has room for below the options
    for line in shown:
        program, command, *arguments = shlex.split(line)
        assert (program, command) == ("fanfold", name)
        options = COMMANDS[name].make_context(name, arguments).params
        if name in SETTINGS and not options.get("credentials"):
            assert read(SETTINGS[name], options)


PROGRAM = "import sys; from fanfold.cli.commands import main; sys.argv = ['fanfold']; main()"


def test_a_shell_completes_commands_and_options() -> None:
    """What typer's script asks when somebody presses the tabulator."""

    def candidates(words: str) -> list[str]:
        asked = {"COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM],
            env=os.environ | {"_FANFOLD_COMPLETE": "complete_bash", **asked},
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.split()

    assert candidates("fanfold coo") == ["coordinator"]
    assert candidates("fanfold coordinator --go") == ["--goal"]

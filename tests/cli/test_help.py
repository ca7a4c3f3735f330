"""What the command line says of itself: its version, examples that can be typed, completions."""

import os
import shlex
import subprocess
import sys
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from fanfold.api.reading import read
from fanfold.check.settings import CheckSettings
from fanfold.cli.commands import app
from fanfold.cli.help import EXAMPLES
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

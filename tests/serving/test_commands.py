"""The command line of a run's coordinator says what was asked for, and where."""

from pathlib import Path

from fanfold.registry.record import Parent
from fanfold.serving.commands import PARENT_FILE, coordinator_command
from fanfold.serving.settings import ServeSettings
from tests.registry.test_run_registry import record


def test_a_coordinator_gets_the_options_that_were_given_and_no_password(tmp_path: Path) -> None:
    """The broker's address is passed in the environment, which `ps` does not show to others."""
    settings = ServeSettings(
        federation="clinics", broker=("amqp://me:secret@b",), require_login=True, device="cpu"
    )
    run = record(
        options={"rounds": "7", "publish_final": True, "masks": ["a", "b"]},
        parent=Parent(run="zeroth", version=1),
    )
    command = coordinator_command(settings, run, tmp_path)
    assert command[3] == "coordinator"
    assert {
        "--federation=clinics.run.first",
        "--require-login",
        "--device=cpu",
        f"--out={tmp_path}",
        "--rounds=7",
        "--publish-final",
        "--masks=a",
        "--masks=b",
        f"--initial={tmp_path / PARENT_FILE}",
        "--json",
    } <= set(command)
    assert "secret" not in " ".join(command)


def test_a_coordinator_that_only_writes_models_ends_with_the_version_there_is(
    tmp_path: Path,
) -> None:
    command = coordinator_command(ServeSettings(), record(), tmp_path, rounds=2)
    assert [each for each in command if each.startswith("--rounds")] == ["--rounds=2"]

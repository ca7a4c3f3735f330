"""Facts about a federation on this machine that cannot begin, or ends badly."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fanfold.learning import LearningError
from fanfold.local import assembly, federation
from fanfold.local.broker_node import BrokerNode
from fanfold.local.child_process import ChildProcess
from fanfold.local.federation import Federation
from fanfold.local.settings import LocalSettings
from fanfold.schemas.errors import FederationFailedError, InvalidInputError
from fanfold.views.view import LinesView

ROOT = Path(__file__).parents[2]
TASKS = "tests.federation.tiny_tasks"
NOWHERE = "amqp://127.0.0.1:1"


def run(out: Path, **options: Any) -> None:
    settings = LocalSettings(out=out, participants=2, **options)
    assembly.run(settings, view=LinesView(), shows_password=True, on_ready=lambda _stop: None)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"task": "nonsense"}, "there is no built-in task 'nonsense'"),
        ({"data": (Path("nowhere"),)}, "--data nowhere is not a folder"),
        ({"test_data": Path("nowhere")}, "--test-data nowhere is not a folder"),
        ({"partition": "fair"}, "fair"),
        ({"device": "abacus"}, "abacus"),
        ({"optimizer": "magic"}, "there is no optimizer 'magic'"),
    ],
)
def test_mistakes_are_told_before_anything_starts(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, options: dict[str, Any], sentence: str
) -> None:
    """No broker, no process and no folder."""

    def starts(*_: Any, **__: Any) -> None:
        pytest.fail("something started")

    monkeypatch.setattr(BrokerNode, "start", starts)
    monkeypatch.setattr(federation, "ChildProcess", starts)
    with pytest.raises((LearningError, InvalidInputError), match=sentence):
        run(tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_a_log_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    """The folder is there and may be used, but what lies in it is somebody else's."""
    (tmp_path / "logs" / "participant-1.log").mkdir(parents=True)
    with pytest.raises(InvalidInputError, match=r"--out .* cannot be written to \(Is a directory"):
        run(tmp_path, task=f"{TASKS}:Tiny", broker=(NOWHERE,))


@pytest.mark.slow
def test_what_every_participant_complains_of_is_told_once(tmp_path: Path) -> None:
    """They find it out when they read their data; nobody is left, and it was the user's input."""
    flags = [f"--task={TASKS}:FromFile", f"--data={tmp_path}", f"--broker={NOWHERE}"]
    ended = subprocess.run(
        [sys.executable, "-m", "fanfold", "local", "--participants=2", f"--out={tmp_path}", *flags],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert ended.returncode == 2
    (message,) = ended.stderr.splitlines()
    assert message.startswith(f"fanfold: the task cannot read its data in {tmp_path}")


def test_a_coordinator_killed_by_a_signal_is_a_failure(tmp_path: Path) -> None:
    """Whatever its exit code, the federation failed."""
    processes = Federation(
        LocalSettings(out=tmp_path, broker=(NOWHERE,)), tmp_path, say=lambda _event: None
    )
    log = tmp_path / "coordinator.log"
    log.touch()
    processes._coordinator = ChildProcess(
        "coordinator",
        [sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"],
        environment=os.environ,
        log=log,
        tells_events=True,
        happened=processes._happened.put,
    )
    with pytest.raises(FederationFailedError, match="coordinator was killed by SIGKILL"):
        processes.run()
    processes.close()

"""What a script or notebook gets from `fanfold.run`: real processes, and a broker."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import fanfold
from fanfold.local import federation
from fanfold.local.broker_node import BrokerNode
from fanfold.local.child_process import ProcessEnded
from fanfold.schemas.errors import FederationFailedError
from tests.federation.tiny_tasks import Tiny

ROOT = Path(__file__).parents[2]
SCRIPT = """
import fanfold
from tests.federation.tiny_tasks import Tiny

class OfTheScript(Tiny):
    pass

if __name__ == "__main__":
    options = {{"rounds": 2, "device": "cpu", "federation": "{federation}"}}
    run = fanfold.run(OfTheScript, participants=2, **options)
    print(run.folder, len(run.history), *run.participants, len(run.parameters_sha256))
    print(fanfold.Run(run.folder).model(OfTheScript().network()).training)
"""


def script(text: str, folder: Path, broker: str) -> "subprocess.CompletedProcess[str]":
    path = folder / "of_mine.py"
    path.write_text(text)
    return subprocess.run(
        [sys.executable, str(path)],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT), "FANFOLD_BROKER_URL": broker},
        check=False,
        capture_output=True,
        text=True,
        timeout=110,
    )


@pytest.mark.slow
def test_a_script_runs_its_own_task_in_processes(
    tmp_path: Path, broker_url: str, federation: str
) -> None:
    """A class of the script itself, a folder of its own, and who took part."""
    ended = script(SCRIPT.format(federation=federation), tmp_path, broker_url)
    assert ended.returncode == 0, ended.stderr
    told = ["runs/ofthescript-1 2 participant-0 participant-1 64", "False"]
    assert ended.stdout.splitlines() == told
    assert "finished after 2 rounds" in ended.stderr


@pytest.mark.slow
def test_a_script_that_its_processes_run_again_is_told_so(
    tmp_path: Path, broker_url: str, federation: str
) -> None:
    """Without the guard, importing the task would start a federation in every process of one."""
    text = SCRIPT.format(federation=federation).replace('__name__ == "__main__"', "True")
    ended = script(text, tmp_path, broker_url)
    assert ended.returncode == 1
    assert ended.stderr.splitlines()[-1].endswith('put the call under `if __name__ == "__main__":`')


INTERRUPTED = """
import os, signal, threading, time
from pathlib import Path
import fanfold

def press():
    history = Path("run/history.jsonl")
    while not (history.exists() and "round_closed" in history.read_text()):
        time.sleep(0.05)
    os.kill(os.getpid(), signal.SIGINT)

threading.Thread(target=press, daemon=True).start()
try:
    fanfold.run("tests.federation.tiny_tasks:Tiny", participants=2, rounds=100000, out="run",
                federation="{federation}", device="cpu", progress=False)
except KeyboardInterrupt as stopped:
    print(stopped, len(fanfold.Run("run").history) > 0)
"""


@pytest.mark.slow
def test_ctrl_c_ends_all_processes_and_keeps_the_run(
    tmp_path: Path, broker_url: str, federation: str
) -> None:
    """It is raised once everything has ended, and the folder can be opened."""
    ended = script(INTERRUPTED.format(federation=federation), tmp_path, broker_url)
    assert ended.returncode == 0, ended.stderr
    sentence = "stopped before the last round; fanfold.Run('run') opens what there is True\n"
    assert ended.stdout == sentence


@pytest.fixture
def nothing_starts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.chdir(tmp_path)

    def starts(*_: Any, **__: Any) -> None:
        pytest.fail("something started")

    monkeypatch.setattr(BrokerNode, "start", starts)
    monkeypatch.setattr(federation, "ChildProcess", starts)
    return tmp_path


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"particpants": 3}, "^there is no option 'particpants'; did you mean 'participants'"),
        ({"min_participants": 9}, "^min_participants 9 would wait for ever: .* participants 4$"),
        ({"data": "nowhere"}, "^data nowhere is not a folder$"),
        ({"optimizer": "magic"}, "^there is no optimizer 'magic'"),
        ({"task": Tiny(num_partitions=2)}, "^give the class Tiny itself"),
    ],
)
def test_a_mistake_is_one_sentence_before_anything_starts(
    options: dict[str, Any], sentence: str, nothing_starts: Path
) -> None:
    with pytest.raises(fanfold.FanfoldError, match=sentence):
        fanfold.run(**{"task": f"{Tiny.__module__}:Tiny", "progress": False} | options)


def test_a_class_that_only_this_process_has_is_refused(nothing_starts: Path) -> None:
    class Local(Tiny):
        pass

    with pytest.raises(fanfold.FanfoldError, match=r"cannot import .*Local: write the class into"):
        fanfold.run(Local, progress=False)


def test_a_federation_that_fails_says_why(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No process writes to the screen: what it would have said is the exception."""

    class Ended:
        def __init__(self, name: str, *_: Any, happened: Any, **__: Any) -> None:
            self.name = name
            if name == "coordinator":
                happened(ProcessEnded(name, 1))

        def wait(self) -> int:
            return 1

        def terminate(self, *_: Any) -> None: ...

        def close(self, _seconds: float) -> None: ...

        def reason_of_the_end(self) -> str:
            return "the disk is on fire"

    monkeypatch.setattr(federation, "ChildProcess", Ended)
    with pytest.raises(FederationFailedError, match=r"^the disk is on fire$"):
        fanfold.run(Tiny, broker="amqp://127.0.0.1:1", out=tmp_path / "run", progress=False)

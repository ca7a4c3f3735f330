"""What `fanfold submit` and its like refuse before they ask anybody."""

import json
import subprocess
import sys
import time
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

from fanfold.cli.commands import app
from fanfold.operating.settings import OperatorSettings

NAMES = "the run's name '.*' must be 1 to 64 letters, digits, '_' or '-'"


@pytest.mark.parametrize(
    "arguments",
    [
        ("submit", "--name", "a b"),
        ("submit", "--from", "../x@best"),
        ("show", "b/c"),
        ("compare", "first", "no name"),
        ("pull", "a.b"),
        ("pause", ""),
    ],
)
def test_what_can_be_no_name_is_refused_before_anything_is_sent(arguments: tuple[str, ...]) -> None:
    """There is no broker here: whoever asks it first waits, and fails with another sentence."""
    ended = CliRunner().invoke(app, [*arguments, "--broker", "amqp://127.0.0.1:1"])
    with pytest.raises(Exception, match=NAMES):
        raise ended.exception or AssertionError(ended.output)


def test_a_version_that_is_not_named_is_no_version() -> None:
    ended = CliRunner().invoke(app, ["submit", "--from", "first@"])
    assert str(ended.exception) == "'' is no version; name last, best or a number"


def test_a_mistake_of_several_options_is_a_sentence_of_its_own() -> None:
    ended = CliRunner().invoke(app, ["participant", "--id=a", "--task=digits", "--allow=digits"])
    assert str(ended.exception) == "--allow replaces --task; leave one of the two out"


@pytest.mark.slow
def test_who_asks_before_there_is_a_service_waits_and_says_so(
    broker_url: str, federation: str
) -> None:
    """And is told what to do when the time is over."""
    command = [sys.executable, "-m", "fanfold", "runs", f"--broker={broker_url}"]
    command += [f"--federation={federation}", "--answer-seconds=3"]
    began = time.monotonic()
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert time.monotonic() - began >= 3
    nobody = f"no `fanfold serve` has opened the federation {federation!r} on this broker yet"
    waits, *_, refused = ended.stderr.splitlines()
    assert "waiting for fanfold serve" in waits
    assert refused.startswith(f"fanfold: {nobody}; start one, or name another --federation")


class Answering(nullcontext[Any]):
    """A service that has one run in its queue."""

    def __init__(self, _settings: OperatorSettings) -> None:
        super().__init__(self)

    def ask(self, _make: object) -> SimpleNamespace:
        return SimpleNamespace(document=[{"run": "first", "state": "waiting"}])

    def stop(self, why: str) -> None: ...


@pytest.mark.parametrize("flags", [["--json"], ["--log-format=json"]])
def test_what_was_asked_for_is_json_where_log_lines_are(
    monkeypatch: pytest.MonkeyPatch, flags: list[str]
) -> None:
    """One object in one line, as events are: here of a run that waits in the queue."""
    monkeypatch.setattr("fanfold.operating.client.OperatorClient", Answering)
    monkeypatch.setattr("fanfold.cli.logs.set_up", lambda *_args, **_bound: None)
    monkeypatch.setattr("fanfold.cli.service_commands.stop_on_signals", lambda _stop: None)
    ended = CliRunner().invoke(app, ["runs", "--broker=amqp://127.0.0.1:1", *flags])
    assert json.loads(ended.stdout) == {"run": "first", "state": "waiting"}, ended.exception

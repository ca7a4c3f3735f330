"""Which runs are begun, ended, declined and tried again, with threads that only say so."""

import queue
from typing import Any

import pytest

from fanfold.learning import TaskError, TrainingAbandoned
from fanfold.participant.open_runs.allowed import Allowance, Allowed
from fanfold.participant.open_runs.run_thread import RunEnded, Said
from fanfold.participant.open_runs.runs_at_work import AGAIN_SECONDS, NO_RIGHTS, RunsAtWork
from fanfold.schemas.errors import (
    ACCESS_REFUSED,
    BrokerUnreachableError,
    LoginRefusedError,
    RefusedByBrokerError,
)
from fanfold.schemas.events.event import Event
from fanfold.schemas.events.participant import OwnRunDeclined, RunLeft, RunServed
from fanfold.schemas.run_messages import OpenRun, OpenRuns

PATIENCE_SECONDS = 30
ONE, TWO = (OpenRun(run=name, task="digits", task_sha256="a" * 64) for name in ("one", "two"))


class Trial:
    """Runs whose participants wait until they are stopped, or end as a test wishes."""

    def __init__(self) -> None:
        self.now = 0.0
        self.told: list[Event] = []
        self.tidied: list[str] = []
        self.ends: dict[str, list[BaseException | None]] = {}
        """How the next participants of a run end; those beyond wait for a stop."""
        self.delivered: queue.Queue[Said | RunEnded] = queue.Queue()
        allowance = Allowance([Allowed.parse("digits")], lambda _task: "a" * 64)
        self.runs = RunsAtWork(
            allowance,
            self._take_part,
            deliver=self.delivered.put,
            tidy=lambda run: self.tidied.append(run.run),
            say=self.told.append,
            clock=lambda: self.now,
        )

    def _take_part(self, run: OpenRun, *, on_ready: Any, turn: Any, **_: Any) -> bool:
        with turn:
            pass
        ends = self.ends.get(run.run, [])
        if ends:
            error = ends.pop(0)
            if error is not None:
                raise error
            return True
        stopped: queue.Queue[str] = queue.Queue()
        on_ready(stopped.put)
        stopped.get(timeout=PATIENCE_SECONDS)
        return True

    def open(self, *runs: OpenRun) -> None:
        self.runs.follow(OpenRuns(runs=runs))

    def end(self) -> None:
        """Wait for the end of one participant, and take note of it."""
        ended = self.delivered.get(timeout=PATIENCE_SECONDS)
        assert isinstance(ended, RunEnded)
        self.runs.ended(ended)


@pytest.fixture
def trial() -> Any:
    trial = Trial()
    yield trial
    trial.runs.leave("the test is over")


def test_a_run_is_begun_once_and_ended_when_it_is_not_listed(trial: Trial) -> None:
    trial.open(ONE)
    trial.open(ONE, TWO)
    assert trial.told == [RunServed("one", "digits"), RunServed("two", "digits")]
    trial.open(TWO)
    trial.end()
    assert trial.told[2:] == [RunLeft("one")]
    assert trial.runs.at_work == 1


def test_a_run_that_is_opened_again_while_it_ends_is_begun_again(trial: Trial) -> None:
    """Two participants of one run would share an id and a folder."""
    trial.open(ONE)
    trial.open()
    trial.open(ONE)
    assert trial.told == [RunServed("one", "digits")]
    trial.end()
    assert trial.told[1:] == [RunLeft("one"), RunServed("one", "digits")]


def test_only_what_a_finished_run_left_is_tidied_up(trial: Trial) -> None:
    trial.open(ONE, TWO)
    trial.runs.over("one")
    trial.open()
    trial.end()
    trial.end()
    assert trial.tidied == ["one"]


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (TaskError("there is no data"), "there is no data"),
        (KeyError("patients"), "it failed with KeyError; its own log says more"),
        (SystemExit(3), "it failed with SystemExit; its own log says more"),
        (RefusedByBrokerError(ACCESS_REFUSED, "ACCESS_REFUSED"), NO_RIGHTS),
        (None, "its participant has left without being told to"),
    ],
)
def test_a_run_that_fails_is_declined_until_it_is_opened_anew(
    trial: Trial, error: BaseException | None, reason: str
) -> None:
    """What a user's own error says may hold private data, and does not travel."""
    trial.ends["one"] = [error]
    trial.open(ONE, TWO)
    trial.end()
    assert trial.runs.declined == {"one": reason}
    assert OwnRunDeclined("one", "digits", reason) in trial.told
    trial.open(ONE, TWO)
    assert trial.runs.at_work == 1
    trial.open(TWO)
    trial.open(ONE, TWO)
    assert trial.runs.at_work == 2
    assert trial.runs.declined == {}


def test_a_run_whose_broker_cannot_be_reached_is_tried_again(trial: Trial) -> None:
    trial.ends["one"] = [BrokerUnreachableError("nobody there")]
    trial.open(ONE)
    trial.end()
    assert trial.runs.at_work == 0
    trial.runs.do_duties()
    assert trial.runs.at_work == 0
    trial.now = trial.runs.next_duty_at
    assert trial.now == AGAIN_SECONDS
    trial.runs.do_duties()
    assert trial.runs.at_work == 1
    assert trial.runs.declined == {}


def test_a_login_that_is_refused_ends_the_whole_participant(trial: Trial) -> None:
    trial.ends["one"] = [LoginRefusedError("no such login")]
    trial.open(ONE)
    with pytest.raises(LoginRefusedError, match="no such login"):
        trial.end()


def test_who_was_told_to_stop_before_its_first_turn_has_not_failed(trial: Trial) -> None:
    trial.ends["one"] = [TrainingAbandoned(0, 0)]
    trial.open(ONE)
    trial.open()
    trial.end()
    assert trial.told[1:] == [RunLeft("one")]


def test_who_leaves_begins_no_other_run(trial: Trial) -> None:
    trial.open(ONE)
    trial.runs.leave("enough")
    trial.open(ONE, TWO)
    trial.end()
    assert trial.runs.at_work == 0

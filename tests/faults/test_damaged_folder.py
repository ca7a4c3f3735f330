"""What a person finds who damaged the folder of a run, or left a stopped process in it."""

from pathlib import Path

import pytest
from fault_points import STOPPED_IN_COMMIT
from faulty_run import Run
from services import until

WRONG_INPUT = 2


def last_line(run: Run, name: str) -> str:
    return (run.folder / f"{name}.log").read_text().splitlines()[-1]


def test_an_epoch_that_is_emptied_in_the_middle_of_a_run_ends_it_in_a_sentence(run: Run) -> None:
    """So does the next start, until somebody writes a number into it; nothing is lost."""
    run.take_part(0, of=1)
    coordinator = run.coordinate("--rounds=100000")
    run.await_event("coordinator", "round_closed", round=2)
    epoch = run.out / "epoch"
    epoch.write_text("")
    for name in ("coordinator", "second"):
        if name == "second":
            coordinator = run.coordinate(name=name)
        assert run.services.wait(coordinator) == WRONG_INPUT
        assert f"fanfold: {epoch} is damaged: it holds b'' and not" in last_line(run, name)
    epoch.write_text("1\n")
    rounds = len(run.told("coordinator", "round_closed"))
    run.finish(run.coordinate(f"--rounds={rounds + 2}", name="third"))
    assert len(run.updates()) == rounds + 2


@pytest.mark.slow  # a broker gives a silent connection up after seconds: `make faults`
def test_a_standby_behind_a_stopped_coordinator_says_so_stops_when_told_and_takes_over(
    run: Run,
) -> None:
    """The broker gave the stopped one up, but it may wake up in the middle of its commit."""
    for index in range(2):
        run.take_part(index)
    flags = ("--min-participants=2", "--heartbeat-seconds=1")
    first = run.coordinate(*flags, trouble=STOPPED_IN_COMMIT)
    run.await_event("coordinator", "round_closed", round=1)
    until(lambda: is_stopped(first.pid), "the stop in the commit")
    second = run.coordinate(*flags, name="second")
    waits = run.await_event("second", "folder_locked", folder=str(run.out))
    assert waits["holder"].startswith(f"process {first.pid} on ")
    run.services.terminate(second)
    assert run.services.wait(second) == 1
    third = run.coordinate(*flags, name="third")
    run.await_event("third", "folder_locked")
    run.services.kill(first)
    run.finish(third)
    assert len(run.updates()) == 6


def is_stopped(pid: int | None) -> bool:
    """Whether a process of Linux was stopped by a signal."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"

"""Participants come late, leave, die and come back while a run lasts."""

import time

import pytest
from faulty_run import Run
from padded_task import VARIABLE

# Processes that wait for deadlines, alarms and timeouts: `make faults`.
pytestmark = pytest.mark.slow

DEADLINE_SECONDS = 10


def test_who_joins_in_round_7_trains_on_version_6_at_once(run: Run) -> None:
    """Round 7 waits for a second update, and nobody has to wait for round 8 to be of use."""
    run.take_part(0)
    run.finish(run.coordinate("--rounds=6", name="first"))
    coordinator = run.coordinate("--rounds=7", "--quorum=2")
    run.await_event("participant-0", "update_sent", version=6)
    run.take_part(1)
    run.finish(coordinator)
    assert [event["version"] for event in run.told("participant-1", "version_received")] == [6]
    assert ("participant-1", 6) in run.updates()


def test_one_of_two_killed_for_good_costs_one_deadline(run: Run) -> None:
    """The round closes by the deadline and not before; who was silent through one is not awaited.

    It may have been heard in round 1, before it died: then round 2 is the one it is silent in.
    """
    run.take_part(0, "--progress-seconds=1")
    victim = run.take_part(1, "--progress-seconds=1", **{VARIABLE: "60"})
    coordinator = run.coordinate(
        "--min-participants=2", "--rounds=3", f"--deadline-seconds={DEADLINE_SECONDS}"
    )
    run.await_event("participant-1", "version_received", version=0)
    run.services.kill(victim)
    run.finish(coordinator)
    first, _, third = run.told("coordinator", "round_closed")
    assert DEADLINE_SECONDS <= first["seconds"] < 2 * DEADLINE_SECONDS
    assert third["seconds"] < DEADLINE_SECONDS
    assert run.told("coordinator", "participant_silent")[0]["participant"] == "participant-1"


def test_with_everybody_dead_the_coordinator_waits_and_says_so(run: Run) -> None:
    """And it goes on when one comes back."""
    participants = [run.take_part(index, **{VARIABLE: "60"}) for index in range(2)]
    coordinator = run.coordinate("--min-participants=2", "--rounds=1", "--deadline-seconds=1")
    for participant in participants:
        run.await_event(participant.name, "version_received", version=0)
    for participant in participants:
        run.services.kill(participant)
    run.await_event("coordinator", "waiting", round=1, updates=0)
    participants[0].environment[VARIABLE] = "0.1"
    run.services.start(participants[0])
    run.finish(coordinator)
    assert run.updates() == [("participant-0", 0)]


def test_sigterm_ends_a_training_within_its_grace(run: Run) -> None:
    """The step in hand is given up, and goodbye is said: nobody waits for who left."""
    run.take_part(0)
    leaving = run.take_part(1, "--grace-seconds=0.5", **{VARIABLE: "60"})
    coordinator = run.coordinate("--min-participants=2", "--rounds=1")
    run.await_event("participant-1", "version_received", version=0)
    asked_at = time.monotonic()
    run.services.terminate(leaving)
    assert run.services.wait(leaving) == 0
    assert time.monotonic() - asked_at < 20
    run.finish(coordinator)
    assert run.updates() == [("participant-0", 0)]
    assert run.told("coordinator", "participant_left")[0]["reason"] == "SIGTERM"


def test_sigterm_lets_a_training_that_is_nearly_done_count(run: Run) -> None:
    """Within the grace time it is finished, sent and counted."""
    run.take_part(0, **{VARIABLE: "1"})
    leaving = run.take_part(1, "--grace-seconds=60", **{VARIABLE: "1"})
    coordinator = run.coordinate("--min-participants=2", "--rounds=1")
    run.await_event("participant-1", "version_received", version=0)
    run.services.terminate(leaving)
    assert run.services.wait(leaving) == 0
    run.finish(coordinator)
    assert sorted(run.updates()) == [("participant-0", 0), ("participant-1", 0)]

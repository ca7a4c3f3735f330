"""Facts about services among bad ones: a stated refusal, and the run of the others goes on."""

import json
from typing import Any

import pytest

from fanfold.participant.training_state import TrainingState
from fanfold.schemas.errors import BrokerUnreachableError, InvalidInputError, LoginRefusedError
from fanfold.schemas.reader_limits import ReaderLimits


def test_wrong_credentials_are_told_after_a_few_tries(live: Any) -> None:
    """They do not become right by waiting."""
    live.url = live.url.replace("amqp://fanfold:", "amqp://fanfold:wrong")
    live._common["broker"] = (live.url,)
    coordinator = live.coordinator("Tiny")
    with pytest.raises(LoginRefusedError, match="ACCESS_REFUSED"):
        coordinator.result.result(90)


def test_a_service_is_stopped_while_it_looks_for_a_broker(live: Any) -> None:
    """It does not wait for the end of its patience."""
    live._common["broker"] = ("amqp://127.0.0.1:1",)
    live._common["connect_seconds"] = 600.0
    services = [live.coordinator("Tiny"), live.participant("Tiny")]
    for service in services:
        service.stop("changed my mind")
    assert not services[0].result.result(60).is_finished
    services[1].result.result(60)


def test_nobody_there_is_said_after_the_time_given(live: Any) -> None:
    """The service itself raises what the command line tells."""
    live._common["broker"] = ("amqp://127.0.0.1:1",)
    live._common["connect_seconds"] = 0.3
    with pytest.raises(BrokerUnreachableError, match=r"no broker answered within 0\.3 s"):
        live.participant("Tiny").result.result(60)


def test_a_second_participant_of_the_same_id_says_so_and_tries_again(live: Any) -> None:
    """It takes over when the first one leaves, state and all; the run goes on meanwhile."""
    state = live.out.parent / "state"
    first = live.participant("Tiny", state_dir=state)
    coordinator = live.coordinator("Tiny", rounds=10_000)
    first.wait_for("update_sent")
    second = live.participant("Tiny", state_dir=state)
    assert second.wait_for("id_taken") == [{"participant": "p0"}]
    rounds = len(coordinator.all("round_closed"))
    coordinator.wait_for("round_closed", times=rounds + 2)
    assert second.all("update_sent") == []
    first.stop("making room")
    second.wait_for("update_sent")


def test_a_second_coordinator_stands_by_and_takes_over(live: Any) -> None:
    """From the checkpoint, once it has the lock."""
    live.participant("Tiny")
    first = live.coordinator("Tiny", rounds=12)
    first.wait_for("round_closed")
    second = live.coordinator("Tiny", rounds=12)
    second.wait_for("standing_by")
    assert second.all("run_started") == []
    first.stop("making room")
    outcome = second.result.result(90)
    assert outcome.rounds == 12
    assert second.all("run_started")[0]["run"] == first.all("run_started")[0]["run"]


def test_another_network_ends_that_participant_and_nobody_else(live: Any) -> None:
    """It says which tensor differs; the round of the others closes without it."""
    coordinator = live.coordinator("Tiny", rounds=3, min_participants=2)
    live.participant("Tiny", 0, 2)
    other = live.participant("Wide", 1, 2)
    with pytest.raises(
        InvalidInputError, match=r"trains another network .*weight has the shape \(3, 2\), not"
    ):
        other.result.result(90)
    outcome = coordinator.result.result(90)
    assert outcome.is_finished
    assert coordinator.all("participant_left")[0]["participant"] == "p1"


def test_another_tasks_checkpoint_is_refused(live: Any) -> None:
    """Resuming with the wrong task says what to do; `--fresh` begins anew."""
    live.participant("Tiny")
    live.coordinator("Tiny", rounds=1).result.result(90)
    with pytest.raises(InvalidInputError, match=r"resume with the task the run began with"):
        live.coordinator("Wide", rounds=2).result.result(90)
    outcome = live.coordinator("Tiny", rounds=1, resume=False).result.result(90)
    assert outcome.is_finished


def test_a_malformed_message_is_put_aside_and_the_run_goes_on(live: Any) -> None:
    """Counted with its reason; a person can look at it in the dead letters."""
    from fanfold.schemas.names import UPDATE_KEY, FederationNames  # noqa: PLC0415 - only here
    from fanfold.transport import Connection, Outgoing  # noqa: PLC0415 - only here

    live.participant("Tiny")
    coordinator = live.coordinator("Tiny", rounds=10_000)
    coordinator.wait_for("round_closed")
    names = FederationNames(live.name)
    with Connection([live.url], name="mischief") as connection:
        connection.wait_connected(30)
        connection.publish([Outgoing(names.reports_exchange, UPDATE_KEY, b"junk", "Update", "1")])
        refused = coordinator.wait_for("message_refused")
        assert "header" in json.dumps(refused)
        closed = len(coordinator.all("round_closed"))
        coordinator.wait_for("round_closed", times=closed + 2)


@pytest.mark.slow
def test_what_a_participant_sent_too_late_is_owed_again(
    live: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By top-k, which else would pay it to nobody; the answer comes when the next one is out."""
    monkeypatch.setenv("SLOW_SECONDS", "0.5")
    state = live.out.parent / "p1"
    live.coordinator(
        "Tiny", rounds=10_000, min_participants=2, deadline_seconds=0.65, encoding="topk:0.1"
    )
    live.participant("Slow", 0, 2)
    flags = ["--id=p1", f"--state-dir={state}", "--grace-seconds=0"]
    slow = live.process("participant", "Slow", *flags, SLOW_SECONDS="0.85")
    run = slow.wait_for("update_sent")["run"]
    slow.wait_for("update_refused")
    slow.terminate()
    refused = {each["version"] for each in slow.said if each["event"] == "update_refused"}
    memory = TrainingState(state, ReaderLimits(max_bytes=1 << 20))
    assert memory.last_update is None or memory.last_update.base_version not in refused
    assert memory.owed_to(run)[
        "bias"
    ].count_nonzero()  # it travels as it is: only a refusal owes it

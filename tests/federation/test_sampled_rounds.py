"""Facts about `--fraction`: each version goes to a drawn part of those present."""

from typing import Any

import pytest

from fanfold.coordinator.persistence.history import read_history
from fanfold.coordinator.rounds.sampling import draw
from tests.federation.tiny_tasks import GatedTiny

INDICES = range(1, 5)  # the participant with the index 0 would not wait for the gate
NAMES = [f"p{index}" for index in INDICES]


@pytest.fixture
def gate() -> Any:
    """Trainings wait while it is closed."""
    gate = GatedTiny.gate
    gate.set()
    yield gate
    gate.set()


def coordinate(live: Any, *, rounds: int) -> Any:
    return live.coordinator("GatedTiny", fraction=0.5, seed=5, rounds=rounds, min_participants=4)


def take_part(live: Any) -> dict[str, Any]:
    services = [live.participant("GatedTiny", index, 6, grace_seconds=0) for index in INDICES]
    return dict(zip(NAMES, services, strict=True))


def counted(live: Any) -> list[set[str]]:
    """Who made each version, by the history."""
    return [
        {update["participant"] for update in record["updates"]}
        for record in read_history(live.out / "history.jsonl")
        if record["event"] == "round"
    ]


def drawn(round_number: int) -> set[str]:
    return set(draw(NAMES, size=2, seed=5, round_number=round_number))


def test_each_round_a_drawn_half_gets_the_version_and_nobody_else(live: Any, gate: Any) -> None:
    """Through `F.resend`, and with bytes that were really sent."""
    coordinator = coordinate(live, rounds=6)
    participants = take_part(live)
    coordinator.result.result(90)

    assert counted(live) == [drawn(number) for number in range(1, 7)]
    for name, participant in participants.items():
        versions = [fields["version"] for fields in participant.all("version_received")]
        assert versions == [number - 1 for number in range(1, 7) if name in drawn(number)]
    bytes_down = {fields["bytes_down"] for fields in coordinator.all("round_closed")}
    assert len(bytes_down) == 1
    assert bytes_down.pop() % 2 == 0


def test_the_sample_is_the_same_after_a_restart_and_a_newcomer_waits(live: Any, gate: Any) -> None:
    gate.clear()
    coordinator = coordinate(live, rounds=1)
    participants = take_part(live)
    for name in drawn(1):
        participants[name].wait_for("version_received")
    coordinator.stop("a crash would do the same")
    coordinator.result.result(30)

    again = coordinate(live, rounds=1)
    again.wait_for("run_resumed")
    newcomer = live.participant("GatedTiny", 5, 6, id="newcomer")
    again.wait_for("participant_joined")
    gate.set()
    again.result.result(90)

    assert counted(live) == [drawn(1)]
    assert newcomer.all("version_received") == []


def test_when_the_whole_sample_leaves_others_are_drawn_at_once(live: Any, gate: Any) -> None:
    """The deadline is ten minutes away: nobody waits for it."""
    gate.clear()
    coordinator = coordinate(live, rounds=1)
    participants = take_part(live)
    for name in drawn(1):
        participants[name].wait_for("version_received")
    for name in drawn(1):
        participants[name].stop("leaving for good")
        participants[name].result.result(30)
    remaining = set(NAMES) - drawn(1)
    (chosen,) = draw(remaining, size=1, seed=5, round_number=1)  # half of the two who are left
    participants[chosen].wait_for("version_received")
    gate.set()
    coordinator.result.result(90)

    assert counted(live) == [{chosen}]

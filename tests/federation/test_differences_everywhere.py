"""Facts about versions as differences in every mode: the same bits, and fewer bytes."""

import threading
from pathlib import Path
from typing import Any

import pytest

from tests.federation.masked_federation import Make, Masked
from tests.federation.test_differences import GATED, TASK, replayed, simulated

ROUNDS = 15
"""Of runs whose coordinator is killed."""
DOWN: dict[str, Any] = {"encoding_down": "difference:int8", "threads": 1}
PATIENCE_SECONDS = 90


def members(live: Any, number: int, task: str = TASK) -> list[Any]:
    """Start participants with the names of simulated ones."""
    names = [f"participant-{index}" for index in range(number)]
    return [
        live.participant(task, index, number, id=name, state_dir=live.out.parent / name)
        for index, name in enumerate(names)
    ]


def is_short(num_bytes: int) -> bool:
    """Whether so many bytes are of a difference: a whole version has 16,000, and its seal 4,000."""
    return num_bytes < 10_000


def lengths(participants: list[Any]) -> list[int]:
    """Return the bytes of every version that came, after checking that all could be read."""
    assert not any(each.all("difference_not_applied") for each in participants)
    return [got["bytes"] for each in participants for got in each.all("version_received")]


def test_of_a_sample_who_was_drawn_twice_in_a_row_is_sent_the_difference(
    live: Any, tmp_path: Path
) -> None:
    """And the others the whole version, without being asked for it."""
    options = {"fraction": 0.5, "seed": 5, "rounds": 8, "min_participants": 4}
    coordinator = live.coordinator(TASK, **(DOWN | options))
    participants = members(live, 4)
    result = coordinator.result.result(PATIENCE_SECONDS)
    sent = lengths(participants)
    differences = [each for each in sent if each < max(sent) / 3]
    assert len(sent) == 16
    assert 4 <= len(differences) < 14
    assert sum(each["bytes_down"] for each in coordinator.all("round_closed")) == sum(sent)

    told = replayed(live, 4)
    assert (told.agrees, told.parameters_sha256) == (True, result.parameters_sha256)
    undisturbed = simulated(
        tmp_path / "simulated", "difference:int8", 8, participants=4, fraction="0.5", seed="5"
    )
    assert undisturbed == result.parameters_sha256


@pytest.mark.parametrize("place", ["coordinator", "participant"])
def test_a_private_run_sends_differences_of_models_with_noise(live: Any, place: str) -> None:
    """They are made of what is published alone; a hash says that both ends hold the same."""
    private = {"dp_clip": 1.0, "dp_noise": 0.5, "dp_at": place, "min_participants": 2}
    coordinator = live.coordinator(TASK, rounds=5, **(DOWN | private))
    participants = members(live, 2)
    assert coordinator.result.result(PATIENCE_SECONDS).is_finished
    closed = coordinator.all("round_closed")
    assert [each["updates"] for each in closed] == [2] * 5
    sent = sorted(lengths(participants))
    assert sent[7] < sent[-1] / 3
    assert sent[-2] == sent[-1]


@pytest.mark.parametrize(("num_keepers", "is_sealed"), [(1, False), (0, True), (1, True)])
def test_masks_and_seals_hide_differences_as_they_hide_versions(
    masked: Make, tmp_path: Path, num_keepers: int, *, is_sealed: bool
) -> None:
    """A sealed difference names both of its versions by their seals."""
    made = masked(num_keepers)
    made.task = TASK
    for place in range(num_keepers):
        made.keeper(place)
    keys = {"identity": made.hub} if is_sealed else {}
    coordinator = made.coordinator(rounds=5, **DOWN, **keys)
    participants = made.participants(sealed=is_sealed)
    result = coordinator.result.result(PATIENCE_SECONDS)
    assert sum(map(is_short, lengths(participants))) == 8
    first, *later = [each["bytes_down"] for each in coordinator.all("round_closed")]
    assert all(is_short(each / 2) for each in later)
    assert first == 2 * max(lengths(participants))
    told = made.replayed()
    assert (told.agrees, told.parameters_sha256) == (True, result.parameters_sha256)
    flat = simulated(tmp_path / "simulated", "difference:int8", 5, encoding="fixed")
    assert flat == result.parameters_sha256


def test_with_one_participant_async_mode_sends_differences_alone(live: Any, tmp_path: Path) -> None:
    coordinator = live.coordinator(TASK, mode="async", rounds=8, min_participants=1, **DOWN)
    participants = members(live, 1)
    result = coordinator.result.result(PATIENCE_SECONDS)
    first, *later = lengths(participants)
    assert len(later) == 7
    assert max(later) < first / 3
    told = replayed(live, 1)
    assert (told.agrees, told.parameters_sha256) == (True, result.parameters_sha256)
    alone = simulated(tmp_path / "simulated", "difference:int8", 8, mode="async", participants=1)
    assert alone == result.parameters_sha256


def test_of_a_buffer_who_answered_the_version_before_is_sent_the_difference(live: Any) -> None:
    """Whoever holds an older one is sent the newest whole, so that nobody has to ask."""
    options = {"mode": "buffered", "goal": 2, "min_participants": 3}
    coordinator = live.coordinator(TASK, rounds=10**6, **options, **DOWN)
    participants = members(live, 3)
    coordinator.wait_until(lambda: sum(map(is_short, lengths(participants))) >= 10)
    coordinator.stop("seen enough")
    coordinator.result.result(PATIENCE_SECONDS)
    assert replayed(live, 3).agrees


def test_of_unequal_participants_in_async_mode_the_fast_one_is_sent_differences(
    live: Any, hidden_gate: threading.Event
) -> None:
    """The slow one answers a version of long ago, which counts, and is sent the newest whole."""
    options = {"mode": "async", "max_staleness": 10**6, "min_participants": 2}
    coordinator = live.coordinator(GATED, rounds=10**6, **options, **DOWN)
    slow, fast = members(live, 2, GATED)
    fast.wait_for("update_sent", times=8)
    slow.wait_for("version_received")
    whole, *later = lengths([fast])[:8]
    assert whole == lengths([slow])[0]
    assert all(map(is_short, later))
    hidden_gate.set()
    slow.wait_for("version_received", times=2)
    coordinator.stop("seen enough")
    coordinator.result.result(PATIENCE_SECONDS)
    assert lengths([slow])[1] == whole
    assert replayed(live, 2).agrees


def killed_again_and_again(live: Any, *flags: str) -> None:
    """Run to the end with coordinators as processes, three of which are killed."""
    common = ["coordinator", f"--federation={live.name}", "--device=cpu", "--json", "--threads=1"]
    common += [f"--rounds={ROUNDS}", "--lr=0.1", f"--out={live.out}", f"--task={TASK}"]
    common += ["--encoding-down=difference:int8", *flags]
    for number in (2, 5, 9):
        coordinator = live.command(*common)
        coordinator.wait_for("round_closed", round=number)
        coordinator.kill()
    code, stderr = live.command(*common).end()
    assert code == 0, stderr


@pytest.mark.slow
def test_a_sampled_run_under_kills_has_the_bits_of_the_undisturbed_one(
    live: Any, tmp_path: Path
) -> None:
    participants = members(live, 4)
    killed_again_and_again(live, "--fraction=0.5", "--seed=5", "--min-participants=4")
    told = replayed(live, 4)
    assert told.agrees
    assert any(map(is_short, lengths(participants)))
    options = {"participants": 4, "fraction": "0.5", "seed": "5"}
    expected = simulated(tmp_path / "simulated", "difference:int8", ROUNDS, **options)
    assert told.parameters_sha256 == expected


@pytest.mark.slow
def test_a_buffered_run_under_kills_is_what_its_history_says(live: Any) -> None:
    participants = members(live, 3)
    killed_again_and_again(live, "--mode=buffered", "--goal=2", "--min-participants=3")
    assert replayed(live, 3).agrees
    assert any(map(is_short, lengths(participants)))


@pytest.mark.slow
def test_a_private_run_under_kills_goes_on(live: Any) -> None:
    """Nobody trains on a version that the coordinator does not know."""
    participants = members(live, 2)
    killed_again_and_again(live, "--dp-clip=1", "--dp-noise=0.5", "--min-participants=2")
    assert any(map(is_short, lengths(participants)))
    assert not any(each.all("own_update_refused") for each in participants)


@pytest.mark.slow
def test_a_sealed_and_masked_run_under_kills_has_the_bits_of_the_undisturbed_one(
    masked: Make, tmp_path: Path
) -> None:
    """A version keeps its name, and so a difference its base, across every start."""
    made: Masked = masked(1)
    made.task = TASK
    made.keeper()
    participants = made.participants(sealed=True)
    flags = [f"--masks={made.masks[0]}", f"--identity={made.hub}", "--encoding=fixed"]
    killed_again_and_again(made.live, *flags, "--min-participants=2")
    told = made.replayed()
    assert told.agrees
    assert any(map(is_short, lengths(participants)))
    expected = simulated(tmp_path / "simulated", "difference:int8", ROUNDS, encoding="fixed")
    assert told.parameters_sha256 == expected

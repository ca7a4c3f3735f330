"""What a run keeps whole on its disk outlives kills: latest models, and updates of the open round.

`FANFOLD_TEST_KILLS=51` kills so often; without it a few times.
"""

import os
import random
from pathlib import Path

import pytest
import torch
from faulty_run import Run
from padded_task import VARIABLE
from safetensors.torch import load_file
from services import until

from fanfold.coordinator.aggregation.latest_models import LatestModels
from fanfold.coordinator.persistence.checkpoint_store import CheckpointStore
from fanfold.runs.replay import replay
from fanfold.runs.settings import ReplaySettings

# Processes that are killed and started again: `make faults`.
pytestmark = pytest.mark.slow

KILLS = int(os.environ.get("FANFOLD_TEST_KILLS", "6"))
PARTICIPANTS = 3


def killed_again_and_again(run: Run, *flags: str) -> str:
    """Kill the coordinator between one and three rounds after each start; return the last hash."""
    generator = random.Random(13)
    coordinator = run.coordinate(
        "--min-participants=1", "--rounds=100000", "--commit-updates=1", *flags
    )
    for _ in range(KILLS):
        wanted = len(run.told("coordinator", "round_closed")) + generator.randrange(1, 4)
        until(
            lambda wanted=wanted: len(run.told("coordinator", "round_closed")) >= wanted,
            "more rounds",
        )
        run.services.kill(coordinator)
        run.services.start(coordinator)
    until(lambda: run.told("coordinator", "run_resumed"), "the last start")
    last = run.told("coordinator", "round_closed")[-1]["round"]
    run.services.terminate(coordinator)
    run.services.wait(coordinator)
    return run.finish(run.coordinate(f"--rounds={last + 5}", *flags, name="last"))


def agreed(run: Run, parameters_sha256: str) -> None:
    """Nothing counts twice, and the history makes the same model."""
    assert run.updates()
    told = replay(ReplaySettings(out=run.out, num_partitions=PARTICIPANTS), say=lambda _event: None)
    assert told.parameters_sha256 == parameters_sha256
    assert told.agrees


def test_the_exact_model_is_the_mean_of_the_table_after_every_kill(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To the last bit, and the replay ends there too; one participant is slower than the others."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent))  # where the task is
    for index in range(PARTICIPANTS):
        run.take_part(index, of=PARTICIPANTS, **{VARIABLE: "0.5" if index == 0 else "0.1"})
    parameters_sha256 = killed_again_and_again(run, "--mode=exact")

    checkpoint = CheckpointStore(run.out).peek()
    assert checkpoint is not None
    table = checkpoint.document["run"]["aggregation"]["table"]
    assert set(table) == {f"participant-{index}" for index in range(PARTICIPANTS)}
    latest = LatestModels()
    for entry in table.values():
        model = load_file(run.out / "kept" / f"{entry['key']}.safetensors")
        latest.add(model, entry["num_examples"])
    model = load_file(run.out / "model.safetensors")
    for name, tensor in model.items():
        assert torch.equal(tensor, latest.mean(name).float())
    agreed(run, parameters_sha256)


def test_a_median_of_updates_that_were_kept_over_a_kill_is_the_same(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rounds are killed while they hold some of their updates, and the replay agrees."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent))  # where the task is
    for index in range(PARTICIPANTS):
        run.take_part(index, of=PARTICIPANTS, **{VARIABLE: "0.4" if index == 0 else "0.1"})
    flags = ("--aggregator=median", "--quorum=3")
    parameters_sha256 = killed_again_and_again(run, *flags)
    shares = [each["shares"] for each in run.told("last", "round_closed")]
    assert all(sum(each.values()) == pytest.approx(1.0) for each in shares)
    agreed(run, parameters_sha256)


@pytest.mark.parametrize("flags", [("--mode=exact",), ("--aggregator=median", "--quorum=3")])
def test_what_the_disk_has_no_room_for_is_folded_once_there_is_some(
    run: Run, monkeypatch: pytest.MonkeyPatch, flags: tuple[str, ...]
) -> None:
    """The run says so and waits; the same update is taken again, and counts once."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent))  # where the task is
    for index in range(PARTICIPANTS):
        run.take_part(index, of=PARTICIPANTS)
    room = run.folder / "room"
    coordinator = run.coordinate(
        f"--min-participants={PARTICIPANTS}",
        "--rounds=6",
        *flags,
        trouble=f"full disk until {room}",
    )
    run.await_event("coordinator", "disk_full")
    assert not (run.out / "kept").exists() or not list((run.out / "kept").iterdir())
    room.touch()
    agreed(run, run.finish(coordinator))

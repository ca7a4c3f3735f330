"""A run replayed in memory from its history ends at its hash, and no other history does."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from faulty_run import Run
from padded_task import VARIABLE
from services import until

from fanfold.coordinator.persistence.checkpoint_store import CheckpointStore
from fanfold.coordinator.persistence.history import MOST_TAIL_BYTES, History, read_history
from fanfold.runs.replay import Replayed, replay
from fanfold.runs.settings import ReplaySettings
from fanfold.schemas.errors import InvalidInputError


def replayed(out: Path, **settings: Any) -> Replayed:
    settings = {"num_partitions": 2} | settings
    return replay(ReplaySettings(out=out, **settings), say=lambda _event: None)


@pytest.mark.slow
def test_agrees_for_every_mode_and_only_for_the_true_history(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asynchronous, with lossy encodings both ways and momentum at the centre."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent))  # where the task is
    for index in range(2):
        run.take_part(index)
    coordinator = run.coordinate(
        "--min-participants=2",
        "--rounds=6",
        "--mode=async",
        "--encoding=int8",
        "--encoding-down=float16",
        "--server-optimizer=sgd:lr=1,momentum=0.9",
    )
    parameters_sha256 = run.finish(coordinator)

    result = replayed(run.out)
    assert result.agrees
    assert (result.rounds, result.updates) == (6, 6)
    assert result.parameters_sha256 == parameters_sha256
    with pytest.raises(InvalidInputError, match=r"had num_examples 71[89], here it has 71[89]"):
        replayed(run.out, partition_of=("participant-0=1", "participant-1=0"))


@pytest.mark.slow
def test_agrees_for_a_run_that_went_on_under_other_rules(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Restarted in the middle of a round: what was folded before it counts by the rules of before.

    Those after it name another learning rate, staleness, mode and server optimizer.
    """
    monkeypatch.syspath_prepend(str(Path(__file__).parent))  # where the task is
    run.take_part(0)
    run.take_part(1, **{VARIABLE: "1"})
    first = run.coordinate(
        "--min-participants=2",
        "--rounds=8",
        "--commit-updates=1",
        "--server-optimizer=sgd:lr=1,momentum=0.5",
    )
    until(lambda: (2, "participant-0") in open_contributions(run), "a commit in round 3")
    run.services.terminate(first)
    assert run.services.wait(first) == 1
    second = run.coordinate(
        "--rounds=100",
        "--mode=async",
        "--lr=0.01",
        "--staleness=constant",
        "--server-optimizer=sgd:lr=0.5,momentum=0.9",
        name="second",
    )
    parameters_sha256 = run.finish(second)
    result = replayed(run.out)
    assert result.agrees
    assert result.parameters_sha256 == parameters_sha256
    assert any(update["staleness"] for update in contributions(run))


def contributions(run: Run) -> list[dict[str, Any]]:
    records = read_history(run.out / "history.jsonl")
    return [each for record in records if record["event"] == "round" for each in record["updates"]]


def open_contributions(run: Run) -> set[tuple[int, str]]:
    """Base versions and participants of what was committed before its round closed."""
    history = run.out / "history.jsonl"
    return {
        (update["base_version"], update["participant"])
        for record in (read_history(history) if history.exists() else ())
        if record["event"] == "commit"
        for update in record["updates"]
    }


def test_a_history_that_says_otherwise_does_not_agree(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A changed line is refused by its hash; one that has the right hash makes another model."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    run.take_part(0, of=1)
    run.finish(run.coordinate("--rounds=2"))
    history = run.out / "history.jsonl"
    records = [json.loads(line) for line in history.read_text().splitlines()]
    for record in records:
        if record["event"] == "round" and record["round"] == 2:
            record["updates"][0] |= {"base_version": 0, "staleness": 1, "weight": 0.5**0.5}
    history.write_text("".join(json.dumps(record) + "\n" for record in records))
    with pytest.raises(InvalidInputError, match=r"the last lines of .* were changed .*replayed"):
        replayed(run.out, num_partitions=1)

    forged = History(run.folder / "forged.jsonl")
    for record in records:
        del record["chain"]
        forged.append(record)
    checkpoints = CheckpointStore(run.out)
    checkpoint = checkpoints.read()
    assert checkpoint is not None
    checkpoints.write(checkpoint.document | forged.commit(), checkpoint.tensors)
    forged.close()
    forged.path.replace(history)
    assert not replayed(run.out, num_partitions=1).agrees


def test_a_history_that_is_not_whole_is_refused_in_words(tmp_path: Path) -> None:
    """Lines that are missing, and lines that somebody went on without."""
    path = tmp_path / "history.jsonl"
    history = History(path)
    history.append({"event": "started", "text": "x" * MOST_TAIL_BYTES})
    tensors = {"parameters/w": torch.zeros(1)}
    document = {"run": {"version": 1}}
    CheckpointStore(tmp_path).write(document | history.commit(), tensors)
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    with pytest.raises(InvalidInputError, match=r"counts on \d+: lines of it are lost; such a run"):
        replayed(tmp_path)
    path.write_bytes(whole)
    history.append({"event": "history_lost", "epoch": 3, "lines": 7})
    CheckpointStore(tmp_path).write(document | history.commit(), tensors)
    history.close()
    with pytest.raises(InvalidInputError, match="lost what followed its first 7 lines; such a run"):
        replayed(tmp_path)


def test_says_what_it_cannot_know(tmp_path: Path) -> None:
    """A folder without a run is told from one whose participants have no number."""
    with pytest.raises(InvalidInputError, match="holds no checkpoint of a run"):
        replayed(tmp_path)

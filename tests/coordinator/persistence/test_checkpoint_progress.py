"""Facts about commits inside a round: they leave the model alone, and nothing is lost by that."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from fanfold.coordinator.persistence.checkpoint_store import Basis, Checkpoint, CheckpointStore
from fanfold.storage import safetensors_file
from tests.coordinator.fake_broker import FakeBroker
from tests.coordinator.persistence.test_checkpoint_store import damage

PARAMETERS = 50_000


def basis(version: int) -> Basis:
    return Basis("run", version, frozenset({"sum"}))


def tensors(version: int, counted: int) -> dict[str, Tensor]:
    """Return a state: the model and the optimizer by version, the sum by what was counted."""
    state = {
        "parameters/w": torch.full((PARAMETERS,), float(version)),
        "optimizer/w/m": torch.ones(9),
    }
    if counted:
        state["sum/w"] = torch.full((100,), float(counted), dtype=torch.float64)
    return state


def commit(folder: CheckpointStore, version: int, counted: int) -> None:
    document = {"version": version, "counted": counted}
    folder.write(document, tensors(version, counted), basis=basis(version))


def found(path: Path) -> Checkpoint:
    """Return what a restart finds, which is one state as a whole."""
    checkpoint = CheckpointStore(path).read()
    assert checkpoint is not None
    document = checkpoint.document
    wanted = tensors(document["version"], document["counted"])
    assert checkpoint.tensors.keys() == wanted.keys()
    for name, tensor in wanted.items():
        assert torch.equal(checkpoint.tensors[name], tensor)
    return checkpoint


def counted(path: Path) -> tuple[int, int, bool]:
    checkpoint = found(path)
    document = checkpoint.document
    return document["version"], document["counted"], checkpoint.is_previous


def contents(path: Path, stem: str) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in path.glob(f"{stem}*")}


def test_a_commit_in_an_open_round_does_not_write_the_model_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One file, synced once, of the size of the sum and the document."""
    folder = CheckpointStore(tmp_path)
    for version in (1, 2):
        commit(folder, version, 0)
    before = contents(tmp_path, "checkpoint")
    synced: list[int] = []
    real = vars(safetensors_file)["_sync_data"]

    def sync(descriptor: int) -> None:
        synced.append(descriptor)
        real(descriptor)

    monkeypatch.setitem(vars(safetensors_file), "_sync_data", sync)
    for number in (1, 2, 3):
        commit(folder, 2, number)
        assert counted(tmp_path) == (2, number, False)
    assert len(synced) == 3
    assert contents(tmp_path, "checkpoint") == before
    sizes = [len(content) for content in contents(tmp_path, "progress").values()]
    assert max(sizes) < PARAMETERS * 4 / 2


def test_a_coordinator_writes_the_sum_alone_while_a_round_is_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With Adam a whole checkpoint holds the model and two moments; the sum is as two models."""
    written: list[tuple[str, set[str]]] = []
    real = safetensors_file.write

    def write(path: Path, tensors: Mapping[str, Tensor], *args: Any, **more: Any) -> None:
        parts = {name.partition("/")[0] for name in tensors} - {"document"}
        written.append((path.name.partition(".")[0], parts))
        real(path, tensors, *args, **more)

    monkeypatch.setattr(safetensors_file, "write", write)
    broker = FakeBroker(tmp_path)
    broker.hello(*"abcd")
    broker.on_version = lambda version: [broker.update(each, version) for each in "abcd"]
    adam = {"server_optimizer": "adam:lr=0.1", "commit_updates": 1}
    assert broker.run(rounds=2, min_participants=4, **adam).is_finished
    in_rounds = [parts for stem, parts in written if stem == "progress"]
    at_closes = [parts for stem, parts in written if stem == "checkpoint"]
    assert in_rounds == [*[{"sum"}] * 8, set()]  # the last one of a run has no sum to write
    assert {"parameters", "optimizer"} in at_closes
    assert len(at_closes) <= 4  # at the start, at each close, and at the end


def test_the_close_of_a_round_counts_and_not_the_progress_of_before(tmp_path: Path) -> None:
    folder = CheckpointStore(tmp_path)
    commit(folder, 1, 0)
    commit(folder, 1, 1)
    commit(folder, 2, 0)
    assert counted(tmp_path) == (2, 0, False)
    commit(folder, 2, 1)
    assert counted(tmp_path) == (2, 1, False)


def test_a_restart_in_the_middle_of_a_round_goes_on_with_its_sum(tmp_path: Path) -> None:
    """Its first commit is whole: the next process does not know what this one wrote."""
    first = CheckpointStore(tmp_path)
    commit(first, 1, 0)
    commit(first, 1, 3)
    second = CheckpointStore(tmp_path)
    assert second.read() is not None
    commit(second, 1, 3)
    commit(second, 1, 4)
    assert counted(tmp_path) == (1, 4, False)


def test_damaged_progress_falls_back_to_the_one_before_and_says_so(tmp_path: Path) -> None:
    """What it counted is named by the history."""
    folder = CheckpointStore(tmp_path)
    for number in (0, 1, 2):
        commit(folder, 1, number)
    damage(tmp_path / "progress.safetensors")
    assert counted(tmp_path) == (1, 1, True)
    for path in tmp_path.glob("progress*"):
        damage(path, -2)
    assert counted(tmp_path) == (1, 0, True)


def test_a_damaged_base_falls_back_to_the_one_before_with_its_own_progress(tmp_path: Path) -> None:
    """And never with the progress of another one, though their numbers may be the same."""
    folder = CheckpointStore(tmp_path)
    for version, number in ((1, 0), (1, 5), (2, 0), (2, 7)):
        commit(folder, version, number)
    damage(tmp_path / "checkpoint.safetensors")
    again = CheckpointStore(tmp_path)
    checkpoint = again.read()
    assert checkpoint is not None
    assert checkpoint.is_previous
    assert checkpoint.document == {"version": 1, "counted": 5}
    commit(again, 1, 6)
    assert counted(tmp_path) == (1, 6, False)


def test_a_base_that_somebody_removed_is_written_again(tmp_path: Path) -> None:
    """Progress alone is no checkpoint."""
    folder = CheckpointStore(tmp_path)
    commit(folder, 1, 0)
    (tmp_path / "checkpoint.safetensors").unlink()
    commit(folder, 1, 1)
    assert counted(tmp_path) == (1, 1, False)


def test_a_document_of_a_hundred_thousand_participants_is_read_again(tmp_path: Path) -> None:
    """It is larger than a safetensors header may be, which is 100 MB."""
    last_counted = {f"{number:01000}": [number, "0" * 64] for number in range(100_000)}
    CheckpointStore(tmp_path).write({"last_counted": last_counted}, {"w": torch.ones(1)})
    checkpoint = CheckpointStore(tmp_path).read()
    assert checkpoint is not None
    found = checkpoint.document["last_counted"]
    assert len(found) == len(last_counted)
    assert found["1".zfill(1000)] == [1, "0" * 64]

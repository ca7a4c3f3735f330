"""A run of participants that each had a folder of their own is replayed from these folders."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import Dataset, TensorDataset

from fanfold.api.reading import read
from fanfold.runs.replay import Replayed, replay
from fanfold.runs.settings import ReplaySettings
from fanfold.schemas.errors import InvalidInputError
from tests.federation.tiny_tasks import Tiny

TASK = f"{__name__}:OfFolders"


class OfFolders(Tiny):
    """Points of a folder of one's own."""

    def train_data(self) -> TensorDataset:
        assert self.data_dir is not None
        return TensorDataset(*torch.load(self.data_dir / "points.pt", weights_only=True))

    def test_data(self) -> Dataset[Any] | None:
        return None


def replayed(out: Path, *folders: Path, **options: Any) -> Replayed:
    given = {"out": str(out), "data": tuple(map(str, folders)), "device": "cpu", **options}
    return replay(read(ReplaySettings, given), say=lambda _event: None)


def test_each_participant_trains_again_on_its_own_folder(live: Any, tmp_path: Path) -> None:
    """In whatever order the folders are named; one that is missing, or another's, is told."""
    points = torch.Generator().manual_seed(0)
    folders = [tmp_path / name for name in ("anna", "bern", "cork")]
    for number, folder in enumerate(folders):
        folder.mkdir()
        inputs = torch.randn((4 + number, 2), generator=points)
        torch.save((inputs, (inputs[:, 0] > 0).long()), folder / "points.pt")
    coordinator = live.coordinator(TASK, rounds=4, min_participants=3)
    for folder in folders:
        live.participant(TASK, id=folder.name, data=folder, once=True)
    outcome = coordinator.result.result(90)
    anna, bern, cork = folders

    told = replayed(live.out, cork, anna, bern)
    assert (told.agrees, told.updates) == (True, 12)
    assert told.parameters_sha256 == outcome.parameters_sha256
    with pytest.raises(InvalidInputError, match="has updates of cork, and no --data is a folder"):
        replayed(live.out, anna, bern)
    others = tmp_path / "swapped"
    others.mkdir()
    bern.rename(others / "anna")
    anna.rename(tmp_path / "bern")
    whose = r"(anna's update of version 0 had num_examples 4|bern's .* 5), here it has"
    with pytest.raises(InvalidInputError, match=whose):  # whose came first
        replayed(live.out, others / "anna", tmp_path / "bern", cork)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"partition": "iid"}, "each participant has its own folder; leave --partition out"),
        ({"partition_of": ("a=0",), "num_partitions": "2"}, "leave --num-partitions and --part"),
    ],
)
def test_shares_and_folders_contradict_each_other(
    tmp_path: Path, options: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(InvalidInputError, match=sentence):
        replayed(tmp_path, tmp_path / "a", tmp_path / "b", **options)

"""Facts about how fast a participant trains: its settings reach the training that the task does."""

from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import Dataset, Subset, TensorDataset

from fanfold.learning import Execution, Task
from fanfold.local.commands import participant_command
from fanfold.local.settings import LocalSettings
from fanfold.participant.settings import ParticipantSettings, SpeedSettings
from fanfold.participant.trainer import Trainer


class Line(Task):
    """A line through three points, of which this participant holds two."""

    def network(self) -> nn.Module:
        return nn.Linear(1, 1)

    def train_data(self) -> Dataset[Any]:
        points = TensorDataset(torch.ones(3, 1), torch.ones(3, 1))
        return Subset(points, [0, 1])


class Particular(Line):
    """One who trains in his own way, and wants his own dataset for it."""

    def fit(self, network: nn.Module, data: Dataset[Any], plan: object) -> list[Any]:
        raise NotImplementedError


def trainer_data(task: Task) -> Any:
    task.execution = Execution(device=torch.device("cpu"))
    return Trainer(task, "alice")._data


def test_private_data_becomes_tensors_on_the_device_once() -> None:
    data = trainer_data(Line())
    assert type(data) is TensorDataset
    assert len(data) == 2


def test_a_fit_of_ones_own_gets_the_dataset_that_the_task_made() -> None:
    assert type(trainer_data(Particular())) is Subset


@pytest.mark.parametrize("fraction", [0.0, 1.5])
def test_a_fraction_of_memory_is_a_fraction(fraction: float) -> None:
    with pytest.raises(ValueError, match="device_memory_fraction"):
        ParticipantSettings(id="alice", device_memory_fraction=fraction)


def participant_flags(**settings: Any) -> list[str]:
    local = LocalSettings(**settings)
    return participant_command(local, 0)


def test_participants_on_one_machine_share_its_device_evenly() -> None:
    assert "--device-memory-fraction=0.25" in participant_flags(participants=3)


def test_the_speed_that_a_person_asks_for_reaches_every_participant() -> None:
    flags = participant_flags(
        participants=2,
        device_memory_fraction=0.3,
        autocast=True,
        channels_last=True,
        compile=True,
        cuda_graphs=True,
        loader_workers=2,
    )
    wanted = SpeedSettings.model_fields
    assert {flag.partition("=")[0] for flag in flags} >= {
        f"--{name.replace('_', '-')}" for name in wanted
    }
    assert "--device-memory-fraction=0.3" in flags
    assert "--loader-workers=2" in flags

"""Facts about a network of real size, batch norm included, through the whole system."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from benchmarks.resnet import ResNet18
from fanfold.coordinator.aggregation.initial_model import initial_network


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_resnet_trains_and_its_running_statistics_are_averaged(tmp_path: Path) -> None:
    """One step on one batch each: the model's statistics are the mean of theirs."""
    command = [
        *(sys.executable, "-m", "fanfold", "local", "--task=benchmarks.resnet:ResNet18"),
        *("--participants=2", "--rounds=1", "--steps=1", "--batch-size=16"),
        *(f"--out={tmp_path}", "--json"),
    ]
    subprocess.run(command, check=True, capture_output=True, cwd=Path(__file__).parents[2])
    model = load_file(tmp_path / "model.safetensors")

    begin = {name: tensor.clone() for name, tensor in initial().state_dict().items()}
    theirs = [buffers_after_one_batch(index) for index in range(2)]
    for name, first in theirs[0].items():
        if name.endswith("num_batches_tracked"):
            assert model[name].dtype == torch.int64, name
            assert model[name].item() == 1, name
        else:
            mean = (first + theirs[1][name]) / 2
            torch.testing.assert_close(model[name], mean, rtol=1e-3, atol=1e-5)
    assert not torch.allclose(theirs[0]["bn1.running_mean"], theirs[1]["bn1.running_mean"])
    changed = [name for name in begin if not torch.equal(begin[name], model[name])]
    assert "conv1.weight" in changed
    assert "fc.bias" in changed


def initial() -> nn.Module:
    return initial_network(ResNet18(), 0)


def buffers_after_one_batch(partition_index: int) -> dict[str, Tensor]:
    """What a participant's batch norm has seen."""
    task = ResNet18(partition_index=partition_index, num_partitions=2)
    network = initial()
    with torch.no_grad():
        network.train()(torch.stack([image for image, _ in task.train_data()]))
    return dict(network.named_buffers())

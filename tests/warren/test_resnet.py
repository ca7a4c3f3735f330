"""Facts about a network of real size, batch norm included, through the whole system."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from benchmarks.resnet import ResNet18
from coordinator.model import initial_network


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_resnet_trains_and_its_running_statistics_are_averaged(tmp_path: Path) -> None:
    """Participants with the same single batch have the same statistics: so has their average."""
    command = [
        *(sys.executable, "-m", "warren", "local", "--task=benchmarks.resnet:ResNet18"),
        *("--participants=2", "--rounds=1", "--steps=1", "--batch-size=16"),
        *(f"--out={tmp_path}", "--json"),
    ]
    subprocess.run(command, check=True, capture_output=True, cwd=Path(__file__).parents[2])
    model = load_file(tmp_path / "model.safetensors")

    task = ResNet18()
    network = initial_network(task, 0)
    begin = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    images = torch.stack([image for image, _ in task.train_data()])
    with torch.no_grad():
        network.train()(images)
    for name, tensor in network.named_buffers():
        if name.endswith("num_batches_tracked"):
            assert model[name].dtype == torch.int64, name
            assert model[name].item() == 1, name
        else:
            torch.testing.assert_close(model[name], tensor, rtol=1e-3, atol=1e-5)
    changed = [name for name in begin if not torch.equal(begin[name], model[name])]
    assert "conv1.weight" in changed
    assert "fc.bias" in changed

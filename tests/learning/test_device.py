from collections.abc import Callable
from types import SimpleNamespace
from typing import NamedTuple

import pytest
import torch
from torch import Tensor
from torch.utils.data import TensorDataset

from fanfold.learning import (
    DeviceError,
    TaskFailedError,
    device,
    limit_device_memory,
    local_device,
    resident,
    to_device,
)
from fanfold.learning.stage import stage

Machine = Callable[[str | None], None]
CPU = torch.device("cpu")


class Pair(NamedTuple):
    """A batch with names."""

    inputs: torch.Tensor
    targets: int


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A machine with one accelerator of a kind, or none."""

    def build(kind: str | None) -> None:
        found = torch.device(kind) if kind else None
        monkeypatch.setattr(torch.accelerator, "is_available", lambda: kind is not None)
        monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda: found)
        monkeypatch.setattr(torch.accelerator, "device_count", lambda: 1 if kind else 0)

    return build


def test_the_accelerator_is_taken_if_there_is_one(machine: Machine) -> None:
    """And the CPU otherwise, or by name."""
    machine("cuda")
    assert local_device() == torch.device("cuda")
    assert local_device("cuda:0") == torch.device("cuda:0")
    assert local_device("cpu") == CPU
    machine(None)
    assert local_device() == CPU


@pytest.mark.parametrize(
    ("kind", "name", "message"),
    [
        (None, "cuda", "'cuda' is not on this machine: torch finds no accelerator"),
        ("mps", "cuda", "'cuda' is not on this machine: torch finds mps"),
        ("cuda", "cuda:1", "'cuda:1' is not on this machine: the last one is cuda:0"),
        ("cuda", "gpu", "'gpu' is no name of a device; use cpu, cuda"),
        (None, "meta", "'meta' is not on this machine"),
    ],
)
def test_a_device_that_is_not_there_is_refused(
    machine: Machine, kind: str | None, name: str, message: str
) -> None:
    """In one sentence that says what is there."""
    machine(kind)
    with pytest.raises(DeviceError, match=message):
        local_device(name)


def test_every_tensor_of_a_batch_is_moved() -> None:
    """In tuples, lists, dicts and named tuples; anything else is left as it is."""
    meta = torch.device("meta")
    batch = (
        torch.ones(2),
        [torch.ones(1), "text"],
        {"mask": torch.ones(3)},
        Pair(torch.ones(1), 5),
    )
    first, second, third, pair = to_device(batch, meta)
    assert {first.device, second[0].device, third["mask"].device, pair.inputs.device} == {meta}
    assert second[1] == "text"
    assert isinstance(pair, Pair)
    assert pair.targets == 5


def test_images_can_be_laid_out_channels_last() -> None:
    """Four dimensions make an image; labels are left alone."""
    images, labels = to_device((torch.ones(2, 3, 4, 5), torch.ones(2)), CPU, channels_last=True)
    assert images.is_contiguous(memory_format=torch.channels_last)
    assert labels.is_contiguous()


def test_a_tensor_that_is_there_is_not_copied() -> None:
    """Moving to where it is costs nothing."""
    tensor = torch.ones(3)
    assert to_device(tensor, CPU) is tensor


def test_memory_is_limited_on_accelerators(monkeypatch: pytest.MonkeyPatch) -> None:
    """The CPU is left alone."""
    limits: list[tuple[float, int]] = []

    def limit(fraction: float, index: int) -> None:
        limits.append((fraction, index))

    monkeypatch.setattr(device.torch.cuda, "set_per_process_memory_fraction", limit)
    monkeypatch.setattr(device.torch.cuda, "current_device", lambda: 3)
    properties = SimpleNamespace(total_memory=16 * device.CONTEXT_BYTES)
    monkeypatch.setattr(device.torch.cuda, "get_device_properties", lambda _index: properties)
    limit_device_memory(CPU, 0.5)
    limit_device_memory(torch.device("cuda:1"), 0.25)
    limit_device_memory(torch.device("cuda"), 0.5)  # torch takes no device without a number here
    assert limits == [(0.25 - 1 / 16, 1), (0.5 - 1 / 16, 3)]


@pytest.mark.parametrize("fraction", [0, -0.1, 1.1, float("nan")])
def test_a_fraction_out_of_range_is_refused(fraction: float) -> None:
    """Above 0, at most 1."""
    with pytest.raises(DeviceError, match="above 0 and at most 1"):
        limit_device_memory(CPU, fraction)


class Homebound(Tensor):
    """A tensor for which no device has memory."""

    def to(self, *_args: object, **_options: object) -> Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 180.00 MiB. GPU 0 has")


def test_data_for_which_the_device_has_no_memory_stays_where_it_is() -> None:
    """A participant with a fraction of a device trains all the same, batch by batch."""
    inputs = torch.zeros(3, 4).as_subclass(Homebound)
    data = TensorDataset(inputs, torch.zeros(3))
    assert resident(data, torch.device("cuda"), 2**30) is data


def test_no_memory_left_is_said_with_the_options_that_help() -> None:
    """Torch's second sentence says how much was missing; its third begins a long list."""
    with (
        pytest.raises(TaskFailedError, match=r"180.00 MiB; .*--batch-size.*--device-memory-fr"),
        stage("training"),
    ):
        torch.zeros(1).as_subclass(Homebound).to("cuda")

import gzip
import hashlib
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision

from fanfold.learning import Task, TaskError, load_task
from fanfold.learning.images import Cifar10, Mnist


def write_idx(path: Path, shape: tuple[int, ...], values: bytes) -> None:
    header = struct.pack(f">HBB{len(shape)}I", 0, 8, len(shape), *shape)
    path.write_bytes(header + values)


def write_mnist(folder: Path, name: str) -> None:
    """Four training images and two test images in the dataset's own format."""
    raw = folder / name / "raw"
    raw.mkdir(parents=True)
    for part, count in (("train", 4), ("t10k", 2)):
        write_idx(raw / f"{part}-images-idx3-ubyte", (count, 28, 28), bytes([255]) * 784 * count)
        write_idx(raw / f"{part}-labels-idx1-ubyte", (count,), bytes(range(count)))


def write_cifar10(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One batch of four images and one of two, under checksums of their own."""
    batches = folder / "cifar-10-batches-py"
    batches.mkdir()
    red = np.zeros((1, 3, 32, 32), np.uint8)
    red[:, 0] = 255

    def write(name: str, entry: object) -> tuple[str, str]:
        content = pickle.dumps(entry)
        (batches / name).write_bytes(content)
        return name, hashlib.md5(content, usedforsecurity=False).hexdigest()

    def images(count: int) -> dict[str, object]:
        data = red.repeat(count, 0).reshape(count, -1)
        return {"data": data, "labels": list(range(count))}

    cifar10 = torchvision.datasets.CIFAR10
    monkeypatch.setattr(cifar10, "train_list", [write("data_batch_1", images(4))])
    monkeypatch.setattr(cifar10, "test_list", [write("test_batch", images(2))])
    name, md5 = write("batches.meta", {"label_names": list("abcdefghij")})
    monkeypatch.setattr(cifar10, "meta", {"filename": name, "key": "label_names", "md5": md5})


@pytest.mark.parametrize(
    ("name", "folder"), [("mnist", "MNIST"), ("fashion-mnist", "FashionMNIST")]
)
def test_mnist_is_read_from_the_data_folder(tmp_path: Path, name: str, folder: str) -> None:
    """Scaled to 0 .. 1, with a channel, divided among participants."""
    write_mnist(tmp_path, folder)
    task = load_task(name)(data_dir=tmp_path, partition_index=1, num_partitions=2)
    images, labels = task.train_data().tensors
    assert images.shape == (2, 1, 28, 28)
    assert images.eq(1).all()
    assert labels.dtype is torch.int64
    assert task.test_data().tensors[1].tolist() == [0, 1]
    assert task.network()(images).shape == (2, 10)


@pytest.mark.filterwarnings("ignore")  # reading old pickles warns with new numpy
def test_cifar10_is_read_from_the_data_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Channels come first: a red image is red."""
    write_cifar10(tmp_path, monkeypatch)
    task = Cifar10(data_dir=tmp_path)
    images, labels = task.train_data().tensors
    assert images.shape == (4, 3, 32, 32)
    assert images.mean((0, 2, 3)).tolist() == [1, 0, 0]
    assert labels.tolist() == [0, 1, 2, 3]
    assert len(task.test_data()) == 2
    assert task.network()(images).shape == (4, 10)
    assert sum(parameter.numel() for parameter in task.network().parameters()) == 620_362


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist", "cifar10"])
def test_a_failed_download_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """It says what is missing, where it was looked for, and what to do."""

    def refuse(*arguments: object, **options: object) -> None:
        raise OSError("Network is\nunreachable")

    monkeypatch.setattr("torchvision.datasets.mnist.download_and_extract_archive", refuse)
    monkeypatch.setattr("torchvision.datasets.cifar.download_and_extract_archive", refuse)
    task: Task = load_task(name)(data_dir=tmp_path)
    with pytest.raises(
        TaskError, match=f"could not be read from {tmp_path} nor downloaded"
    ) as error:
        task.train_data()
    assert "use the task digits" in str(error.value)
    assert "\n" not in str(error.value)


def test_without_a_data_folder_the_cache_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the user's cache, under the program's name."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (tmp_path / "fanfold").mkdir()
    write_mnist(tmp_path / "fanfold", "MNIST")
    assert len(Mnist().train_data()) == 4


def test_a_damaged_file_is_told_too(tmp_path: Path) -> None:
    """Not every failure is the network's."""
    write_mnist(tmp_path, "MNIST")
    (tmp_path / "MNIST" / "raw" / "train-images-idx3-ubyte").write_bytes(gzip.compress(b"no"))
    with pytest.raises(TaskError, match="the files are damaged"):
        Mnist(data_dir=tmp_path).train_data()

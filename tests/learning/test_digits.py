from importlib.resources import files

import pytest
import torch

from fanfold.learning import FederatedNet
from fanfold.learning.digits import Digits


def test_the_digits_are_split_and_scaled() -> None:
    """1,437 to train, 360 held out; 1x28x28, values in 0 .. 1, ten classes."""
    task = Digits()
    train, test = task.train_data().tensors, task.test_data().tensors
    assert train[0].shape == (1437, 1, 28, 28)
    assert test[0].shape == (360, 1, 28, 28)
    assert (train[0].min().item(), train[0].max().item()) == (0.0, 1.0)
    assert (train[0].dtype, train[1].dtype) == (torch.float32, torch.int64)
    assert isinstance(task.network(), FederatedNet)


def test_held_out_classes_are_in_proportion() -> None:
    """34 to 37 of each among 360."""
    counts = Digits().test_data().tensors[1].bincount(minlength=10)
    assert counts.min() >= 34
    assert counts.max() <= 37


def test_an_image_shows_its_label() -> None:
    """The mean zero is dark around and light in the middle; the mean one is the other way round."""
    images, labels = Digits().train_data().tensors
    zero, one = (images[labels == digit].mean(0)[0] for digit in (0, 1))
    assert zero[13:15, 13:15].mean() < 0.2
    assert one[13:15, 13:15].mean() > 0.8


@pytest.mark.parametrize("partition", ["iid", "shards", "dirichlet:0.5"])
def test_participants_divide_the_training_images(partition: str) -> None:
    """Nothing is given twice and nothing is left over, in all three ways."""
    parts = [
        Digits(partition_index=index, num_partitions=4, seed=1, partition=partition).train_data()
        for index in range(4)
    ]
    assert sum(len(part) for part in parts) == 1437
    everything = torch.cat([part.tensors[0] for part in parts]).flatten(1)
    expected = Digits().train_data().tensors[0].flatten(1)
    assert everything.sum(0).allclose(expected.sum(0))


def test_the_held_out_images_are_the_same_for_everybody() -> None:
    """The partition concerns training data only."""
    one, other = Digits(), Digits(partition_index=3, num_partitions=4, seed=9)
    assert one.test_data().tensors[0].equal(other.test_data().tensors[0])


def test_the_licence_of_the_data_is_shipped() -> None:
    """It names the authors, the source and the changes, as CC BY 4.0 asks."""
    text = files("fanfold.learning.digits").joinpath("LICENSE").read_text()
    for words in ("Alpaydin", "10.24432/C50P49", "Attribution 4.0", "What was changed"):
        assert words in text

"""Personalised federated learning: some tensors never leave the participant.

    cd examples/personal_layers
    fanfold local --task personal:OwnHead --partition shards --rounds 5 --state-dir state
    fanfold local --task personal:OwnNorms --rounds 5 --state-dir state

Patterns name tensors; one with "!" keeps what it matches private. The coordinator cannot evaluate
a network that it has only part of, so the accuracy it shows is the mean of what participants
measure on their validation data. `--state-dir` lets the private part survive a restart.
"""

from collections.abc import Sequence

from torch import nn
from torch.utils.data import TensorDataset

from fanfold import Digits


class Personal(Digits):
    """The digits; every participant measures for itself, on the data that nobody trains on."""

    def validation_data(self) -> TensorDataset:
        """Measured with the own private layers."""
        return self.test_data()


class OwnHead(Personal):
    """FedPer: common features, and a classifier of one's own (Arivazhagan et al. 2019)."""

    shared: Sequence[str] = ("!linear.*",)


class OwnNorms(Personal):
    """FedBN: everything is common but the batch normalisation (Li et al. 2021)."""

    shared: Sequence[str] = ("!norm.*",)

    def network(self) -> nn.Module:
        """A small network whose layer `norm` follows the own data's mean and variance."""
        network = nn.Sequential()
        network.add_module("flat", nn.Flatten())
        network.add_module("norm", nn.BatchNorm1d(784))
        network.add_module("linear", nn.Linear(784, 10))
        return network

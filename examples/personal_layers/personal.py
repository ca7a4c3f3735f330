"""Personalised federated learning: some tensors never leave the participant.

    cd examples/personal_layers
    fanfold local --task personal:OwnHead --partition shards --rounds 5 --state-dir state
    fanfold local --task personal:OwnNorms --rounds 5 --state-dir state

A pattern with "!" keeps the tensors that it matches private. The coordinator then has only a part
of the network and cannot evaluate it, so the accuracy it shows is the mean of what the participants
measure on their validation data. With `--state-dir` the private tensors survive a restart.
"""

from collections.abc import Sequence

from torch import nn
from torch.utils.data import TensorDataset

from fanfold import Digits


class Personal(Digits):
    """The digits; every participant evaluates its own network, on data that nobody trains on."""

    def validation_data(self) -> TensorDataset:
        """Return data on which the participant evaluates versions with its own private layers."""
        return self.test_data()


class OwnHead(Personal):
    """FedPer: shared features, and a private classifier (Arivazhagan et al. 2019)."""

    shared: Sequence[str] = ("!linear.*",)


class OwnNorms(Personal):
    """FedBN: all tensors are shared but those of batch normalisation (Li et al. 2021)."""

    shared: Sequence[str] = ("!norm.*",)

    def network(self) -> nn.Module:
        """Return a small network; its layer `norm` keeps the mean and variance of the own data."""
        network = nn.Sequential()
        network.add_module("flat", nn.Flatten())
        network.add_module("norm", nn.BatchNorm1d(784))
        network.add_module("linear", nn.Linear(784, 10))
        return network

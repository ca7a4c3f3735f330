"""Networks that choose which of their layers take part in federation, with methods to train."""

from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim import SGD
from torch.utils.data import Dataset

from fanfold.learning import training
from fanfold.learning.errors import TensorsError
from fanfold.learning.measures import accuracy, measure_with
from fanfold.learning.optimizers import OptimizerFactory
from fanfold.learning.parameters import (
    LayerParameters,
    find_layers,
    flatten,
    named_tensors,
    nest,
    replace_tensors,
)
from fanfold.learning.walk import walk


class TrackedModule(nn.Module):
    """A module whose layers can be read, replaced and trained by name.

    Derive from it instead of `nn.Module`, or beside another network (`class Net(TrackedModule,
    ResNet)`). A plain `nn.Module` needs none of this to take part in a federation: see
    `fanfold.learning.parameters`.

    Example:
        >>> network = FederatedNet()
        >>> network.track_layers = ["conv1", "conv2"]  # `linear` stays private
        >>> list(network.get_parameters())
        ['conv1', 'conv2']
    """

    _tracked: tuple[str, ...] | None = None

    @property
    def track_layers(self) -> dict[str, nn.Module]:
        """The layers that take part, by name; by default every layer with tensors of its own.

        Assign names, or a table by name, to choose some: a name includes all layers inside that
        one. Assign None to return to the default.
        """
        if self._tracked is None:
            return find_layers(self)
        return {name: self.get_submodule(name) for name in self._tracked}

    @track_layers.setter
    def track_layers(self, names: Iterable[str] | None) -> None:
        if names is None:
            self._tracked = None
            return
        # Not find_layers, which lists tied layers once: a user may name the second one.
        layers = dict.fromkeys(found.layer for found in walk(self))
        tracked: dict[str, None] = {}
        for name in names:
            beneath = [layer for layer in layers if layer == name or layer.startswith(f"{name}.")]
            if not beneath:
                raise TensorsError(
                    f"no layer {name!r} holds tensors; there are: {', '.join(layers)}"
                )
            tracked |= dict.fromkeys(beneath)
        self._tracked = tuple(tracked)

    def get_track_layers(self) -> dict[str, nn.Module]:
        """Return the table `track_layers`."""
        return self.track_layers

    def get_parameters(self) -> LayerParameters:
        """Return copies of the tracked layers' tensors: layer -> {weight, bias, ...}."""
        tensors = named_tensors(self, self.track_layers)
        return nest({name: tensor.clone() for name, tensor in tensors.items()})

    def apply_parameters(self, parameters: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Replace tensors of tracked layers in place, without gradient.

        Args:
            parameters: nested like `get_parameters()`. Layers and tensors may be missing; those
                keep their values.

        Raises:
            TensorsError: if a name is unknown or not tracked, or a shape differs; nothing has
                changed.
        """
        replace_tensors(named_tensors(self, self.track_layers), flatten(parameters))

    def batch_accuracy(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Return the fraction of labels [N] that have the largest output [N, classes]; 0-dim."""
        return accuracy(outputs, labels)

    def _process_batch(self, batch: Any) -> tuple[Tensor, Tensor]:
        """Return cross-entropy and accuracy of one batch (images, labels); both 0-dim."""
        images, labels = batch
        outputs = self(images)
        return cross_entropy(outputs, labels), self.batch_accuracy(outputs, labels)

    def fit(
        self,
        dataset: Dataset[Any],
        epochs: int,
        lr: float,
        batch_size: int = 128,
        opt: str | OptimizerFactory = SGD,
        **options: Any,
    ) -> list[tuple[float, float]]:
        """Train this network; arguments, options and result as in `training.fit`."""
        measure = measure_with(self._process_batch)
        return training.fit(self, dataset, epochs, lr, batch_size, opt, measure=measure, **options)

    def evaluate(
        self, dataset: Dataset[Any], batch_size: int = 128, **options: Any
    ) -> tuple[float, float]:
        """Return (mean loss, mean accuracy) without gradients, as in `training.evaluate`."""
        measure = measure_with(self._process_batch)
        return training.evaluate(self, dataset, batch_size, measure=measure, **options)

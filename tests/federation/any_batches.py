"""Batches of every form, and what networks make of them; see `test_any_model`."""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import (
    Dataset,
    TensorDataset,
)

from tests.federation.any_data import Listed
from tests.federation.any_networks import Body, Points


class TextFirst(Listed):
    """Dicts whose first values are a text and an id."""

    def example(self, number: int, inputs: Tensor, target: int) -> Any:
        return {"text": f"case {number}", "id": number, "inputs": inputs, "label": target}

    def process_batch(self, network: nn.Module, batch: Any) -> Any:
        outputs = network(batch["inputs"])
        return self.loss(outputs, batch["label"]), self.metrics(outputs, batch["label"])


class OnlyTexts(TextFirst):
    """Batches in which no tensor says how many examples they hold."""

    def example(self, number: int, inputs: Tensor, target: int) -> Any:
        return {"text": " ".join(f"{value:.3f}" for value in inputs), "label": str(target)}

    def process_batch(self, network: nn.Module, batch: Any) -> Any:
        rows = [[float(word) for word in text.split()] for text in batch["text"]]
        device = self.execution.device
        numbers = {
            "inputs": torch.tensor(rows, device=device),
            "label": torch.tensor(list(map(int, batch["label"])), device=device),
        }
        return super().process_batch(network, numbers)


class ByName(Points):
    """A network that takes its inputs by name, and batches that are dicts with labels."""

    def network(self) -> nn.Module:
        return Named()

    def train_data(self) -> Any:
        return NamedExamples(super().train_data())

    def test_data(self) -> Any:
        return NamedExamples(self.all_data())


class Named(Body):
    def forward(self, inputs: Tensor, scale: Tensor) -> Tensor:
        return super().forward(inputs * scale[:, None])


class NamedExamples(Dataset[Any]):
    def __init__(self, data: TensorDataset) -> None:
        self.data = data

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> Any:
        inputs, label = self.data[index]
        return {
            "name": f"case {index}",
            "inputs": inputs,
            "scale": torch.tensor(1.0),
            "labels": label,
        }


class Nested(Listed):
    """Structures within structures."""

    def example(self, number: int, inputs: Tensor, target: int) -> Any:
        return {"who": [str(number), {"age": number}], "x": (inputs[:2], [inputs[2:]])}, target

    def process_batch(self, network: nn.Module, batch: Any) -> Any:
        (first, (second,)), targets = batch[0]["x"], batch[1]
        outputs = network(torch.cat([first, second], dim=1))
        return self.loss(outputs, targets), self.metrics(outputs, targets)


class Pair(Body):
    """Gives scores and what it thought on the way."""

    def forward(self, inputs: Tensor) -> Any:
        return super().forward(inputs), inputs


class TupleOutputs(Points):
    def network(self) -> nn.Module:
        return Pair()


class ByNameOutputs(Body):
    def forward(self, inputs: Tensor) -> Any:
        return {"features": inputs, "logits": super().forward(inputs)}


class DictOutputs(Points):
    def network(self) -> nn.Module:
        return ByNameOutputs()


class ModelOutput(OrderedDict[str, Any]):
    """As those of transformers: names and attributes."""

    def __getattr__(self, name: str) -> Any:
        return self[name]


class OwnLoss(nn.Module):
    """A network that computes its loss itself where it gets labels."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 2)

    def forward(self, inputs: Tensor, labels: Tensor | None = None, **_ignored: Any) -> Any:
        logits = self.linear(inputs)
        if labels is None:
            return ModelOutput(logits=logits)
        return ModelOutput(loss=nn.functional.cross_entropy(logits, labels), logits=logits)


class OutputObjects(ByName):
    def network(self) -> nn.Module:
        return OwnLoss()


@dataclass
class PointBatch:
    """A batch that is an object of one's own."""

    names: list[str]
    inputs: Tensor
    targets: Tensor


class OwnBatches(Listed):
    def collate(self, examples: list[Any]) -> PointBatch:
        inputs, targets = zip(*examples, strict=True)
        return PointBatch(["?"] * len(inputs), torch.stack(inputs), torch.tensor(targets))

    def process_batch(self, network: nn.Module, batch: Any) -> Any:
        return super().process_batch(network, (batch.inputs, batch.targets))


class OddDicts(Listed):
    """Dicts, and nobody says which of it is what."""

    def example(self, number: int, inputs: Tensor, target: int) -> Any:
        return {"points": inputs, "kind": target}

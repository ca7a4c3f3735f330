"""Data as people have it, each odd in one way; see `test_any_model`."""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_sequence
from torch.utils.data import (
    BatchSampler,
    Dataset,
    IterableDataset,
    Sampler,
    SequentialSampler,
    TensorDataset,
    WeightedRandomSampler,
)

from fanfold.learning import OverAll, WholeMetric
from tests.federation.any_networks import Points


class Examples(Dataset[Any]):
    """Examples of any kind in a list."""

    def __init__(self, examples: list[Any]) -> None:
        self.examples = examples

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, index: int) -> Any:
        return self.examples[index]


class Listed(Points):
    """The points, example by example, as `example` makes them."""

    def example(self, number: int, inputs: Tensor, target: int) -> Any:
        return inputs, target

    def listed(self, data: TensorDataset) -> Examples:
        pairs = zip(*data.tensors, strict=True)
        return Examples([self.example(n, x, int(y)) for n, (x, y) in enumerate(pairs)])

    def train_data(self) -> Any:
        return self.listed(super().train_data())

    def test_data(self) -> Any:
        return self.listed(self.all_data())


class Sentences(Listed):
    """Sentences of different length, padded."""

    def network(self) -> nn.Module:
        return MeanOfWords()

    def example(self, number: int, inputs: Tensor, target: int) -> Any:
        return torch.full((1 + number % 3,), 1 + target), target

    def collate(self, examples: list[Any]) -> Any:
        words, targets = zip(*examples, strict=True)
        return nn.utils.rnn.pad_sequence(words, batch_first=True), torch.tensor(targets)


class MeanOfWords(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.words = nn.EmbeddingBag(3, 4, mode="mean", padding_idx=0)
        self.linear = nn.Linear(4, 2)

    def forward(self, words: Tensor) -> Tensor:
        scores: Tensor = self.linear(self.words(words))
        return scores


class Packed(Sentences):
    """The same, packed."""

    def network(self) -> nn.Module:
        return LastState()

    def example(self, number: int, inputs: Tensor, target: int) -> Any:
        return torch.full((1 + number % 3, 4), float(target)), target

    def collate(self, examples: list[Any]) -> Any:
        words, targets = zip(*examples, strict=True)
        return pack_sequence(list(words), enforce_sorted=False), torch.tensor(targets)


class LastState(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.recurrent = nn.GRU(4, 3)
        self.linear = nn.Linear(3, 2)

    def forward(self, words: PackedSequence) -> Tensor:
        scores: Tensor = self.linear(self.recurrent(words)[1][0])
        return scores


class Unpadded(Sentences):
    """The same, without a word about how they make a batch."""

    collate = Points.collate


class Weighted(Points):
    """Examples drawn by weight."""

    def sampler(self, data: Any) -> Sampler[int]:
        return WeightedRandomSampler([1.0] * len(data), 6)


class OwnBuckets(Points):
    """Batches put together by the task."""

    def sampler(self, data: Any) -> BatchSampler:
        return BatchSampler(SequentialSampler(data), 5, drop_last=False)


class Stream(IterableDataset[Any]):
    """Examples that come one after another, as many as it says."""

    def __init__(self, data: TensorDataset, length: int) -> None:
        self.data, self.length = data, length

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[Any]:
        return iter([self.data[index] for index in range(len(self.data))])


class Streamed(Points):
    def train_data(self) -> Any:
        data = super().train_data()
        return Stream(data, len(data))


class Exhausted(Points):
    """A stream that says more than it has: nothing."""

    def train_data(self) -> Any:
        return Stream(TensorDataset(torch.zeros(0, 4)), 12)


class FewerThanABatch(Points):
    def train_data(self) -> Any:
        inputs, targets = super().train_data().tensors
        return TensorDataset(inputs[:3], targets[:3])


class OneLeftOver(Points):
    """Nine examples in batches of eight, and a batch normalisation."""

    def network(self) -> nn.Module:
        return nn.Sequential(nn.BatchNorm1d(4), super().network())

    def train_data(self) -> Any:
        inputs, targets = super().train_data().tensors
        return TensorDataset(inputs[:9], targets[:9])


class OneAlone(OneLeftOver):
    """A single example."""

    def train_data(self) -> Any:
        inputs, targets = super().train_data().tensors
        return TensorDataset(inputs[:1], targets[:1])


class StringLabels(Listed):
    def example(self, number: int, inputs: Tensor, target: int) -> Any:
        return inputs, "cat" if target else "dog"


class ByteLabels(Points):
    def all_data(self) -> TensorDataset:
        inputs, targets = super().all_data().tensors
        return TensorDataset(inputs, targets.to(torch.uint8))


class OneHot(Points):
    """A whole number for each class, all 0 but one."""

    def all_data(self) -> TensorDataset:
        inputs, targets = super().all_data().tensors
        return TensorDataset(inputs, nn.functional.one_hot(targets, 2))


class Unlabelled(Points):
    """Of which a third of the targets does not count."""

    def all_data(self) -> TensorDataset:
        inputs, targets = super().all_data().tensors
        targets[::3] = -100
        return TensorDataset(inputs, targets)


class PlainList(Listed):
    """A list of examples, with arrays of numpy."""

    def example(self, number: int, inputs: Tensor, target: int) -> Any:
        return inputs.numpy(), target

    def train_data(self) -> Any:
        return super().train_data().examples


class NumbersByDefault(Points):
    """A regression without a loss of its own."""

    def network(self) -> nn.Module:
        return nn.Linear(4, 1)

    def all_data(self) -> TensorDataset:
        inputs, _ = super().all_data().tensors
        return TensorDataset(inputs, inputs.sum(1, keepdim=True))


class FromFolder(Points):
    """Private data that lies in a folder."""

    def train_data(self) -> Any:
        assert self.data_dir is not None
        inputs, targets = torch.load(self.data_dir / "points.pt", weights_only=True)
        part = slice(self.partition_index, None, self.num_partitions)
        return TensorDataset(inputs[part], targets[part])


class Ranked(Points):
    """With a metric that is no mean over batches."""

    def evaluation_metrics(self) -> Mapping[str, WholeMetric]:
        return {"auc": OverAll(area_under_curve)}


def area_under_curve(outputs: Tensor, targets: Tensor) -> float:
    """How often a positive example is above a negative one."""
    scores = outputs[:, 1] - outputs[:, 0]
    positive, negative = scores[targets == 1], scores[targets == 0]
    return float((positive[:, None] > negative[None, :]).float().mean())


class Torchmetrics(Points):
    """With metrics of torchmetrics as they are, one of them a collection."""

    def evaluation_metrics(self) -> Mapping[str, WholeMetric]:
        import torchmetrics  # noqa: PLC0415 - slow to load

        f1 = torchmetrics.F1Score(task="multiclass", num_classes=2, average="macro")
        recall = torchmetrics.Recall(task="multiclass", num_classes=2)
        return {"f1": f1, "more": torchmetrics.MetricCollection({"recall": recall})}

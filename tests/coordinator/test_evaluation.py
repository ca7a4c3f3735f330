"""Facts about evaluations that are slower than the rounds."""

import queue
import threading
from pathlib import Path
from typing import Any

import pytest

from coordinator import evaluation
from coordinator.evaluation import Evaluated, Evaluator
from tests.coordinator.fake_broker import FakeBroker
from tests.federation.tiny_tasks import Tiny


class Gated(Tiny):
    """Evaluates when it is let."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.began, self.gate = threading.Event(), threading.Event()

    def evaluate(self, network: Any, data: Any) -> Any:
        self.began.set()
        assert self.gate.wait(20)
        return super().evaluate(network, data)


def test_versions_that_wait_take_no_more_memory_than_there_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one in work is finished, the newest one is evaluated, and those between are named."""
    monkeypatch.setattr(evaluation, "MOST_PENDING_BYTES", 0)
    task, results = Gated(), queue.SimpleQueue[Evaluated]()
    network = task.network()
    evaluator = Evaluator(
        task, network, deliver=results.put, best=tmp_path / "best", until_accuracy=None
    )
    tensors = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    assert evaluator.submit(1, tensors) == []
    assert task.began.wait(20)
    assert evaluator.submit(2, tensors) == []
    assert evaluator.submit(3, tensors) == [2]
    assert evaluator.submit(4, tensors) == [3]
    task.gate.set()
    for version in (1, 4):
        evaluated = results.get(timeout=20)
        assert evaluated.version == version
        assert evaluator.is_busy
        evaluator.take(evaluated)
    assert not evaluator.is_busy
    evaluator.close()


def test_with_room_for_all_every_version_is_evaluated(tmp_path: Path) -> None:
    """A slow evaluation of a small model is waited for, at the latest at the end."""
    task, results = Gated(), queue.SimpleQueue[Evaluated]()
    network = task.network()
    evaluator = Evaluator(
        task, network, deliver=results.put, best=tmp_path / "best", until_accuracy=None
    )
    for version in range(50):
        assert evaluator.submit(version, dict(network.state_dict())) == []
    task.gate.set()
    assert [results.get(timeout=20).version for _ in range(50)] == list(range(50))
    evaluator.close()


def test_a_round_whose_evaluation_was_skipped_is_told_without_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And in its order; the last one always has its accuracy."""
    monkeypatch.setattr(evaluation, "MOST_PENDING_BYTES", 0)
    broker, task = FakeBroker(tmp_path, monkeypatch), Gated()
    broker.hello("ann")

    def answer(version: int) -> None:
        if version == 2:
            assert task.began.wait(20)  # on version 1: so version 2 waits until 3 takes its place
        if version == 4:
            task.gate.set()
        broker.update("ann", version)

    broker.on_version = answer
    assert broker.run(task, rounds=5).is_finished
    told = [(each["round"], each["accuracy"] is not None) for each in broker.all("round_closed")]
    assert told[:3] == [(1, True), (2, False), (3, told[2][1])]
    assert told[-1] == (5, True)
    assert [number for number, _ in told] == [1, 2, 3, 4, 5]

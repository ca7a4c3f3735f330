"""Facts about evaluations that are slower than the rounds."""

import queue
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from fanfold.coordinator.evaluation import evaluator as evaluation
from fanfold.coordinator.evaluation.evaluator import Evaluated, Evaluator
from fanfold.learning import TrainingAbandoned
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
    evaluator = Evaluator(task, network, deliver=results.put, best=tmp_path / "best")
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
    evaluator = Evaluator(task, network, deliver=results.put, best=tmp_path / "best")
    for version in range(50):
        assert evaluator.submit(version, dict(network.state_dict())) == []
    task.gate.set()
    assert [results.get(timeout=20).version for _ in range(50)] == list(range(50))
    evaluator.close()


@pytest.mark.parametrize(
    "error", [MemoryError(), torch.OutOfMemoryError("CUDA out of memory"), SystemExit("no data")]
)
def test_an_evaluation_that_fails_is_told_and_skipped(error: BaseException, tmp_path: Path) -> None:
    """The rounds go on, and those that could be evaluated have their accuracy."""

    class FailsOnce(Tiny):
        times = 0

        def evaluate(self, network: Any, data: Any) -> Any:
            self.times += 1
            if self.times == 1:
                raise error
            return super().evaluate(network, data)

    broker = FakeBroker(tmp_path)
    broker.hello("ann")
    broker.on_version = lambda version: broker.update("ann", version) and None
    assert broker.run(FailsOnce(), rounds=2).is_finished
    assert [
        (each["version"], type(error).__name__ in each["reason"])
        for each in broker.all("evaluation_failed")
    ] == [(1, True)]
    told = [(each["round"], each["accuracy"] is not None) for each in broker.all("round_closed")]
    assert told == [(1, False), (2, True)]


def test_a_run_that_can_never_be_evaluated_ends_as_ever(tmp_path: Path) -> None:
    """Also when it is started again with an evaluation that is still owed."""

    class Fails(Tiny):
        def evaluate(self, network: Any, data: Any) -> Any:
            raise MemoryError

    broker = FakeBroker(tmp_path)
    broker.hello("ann")
    broker.on_version = lambda version: broker.update("ann", version) and None
    outcome = broker.run(Fails(), rounds=1)
    assert outcome.is_finished
    assert outcome.accuracy is None
    assert outcome.model.exists()


def test_an_evaluation_under_way_is_given_up_at_the_end(tmp_path: Path) -> None:
    """Its task is asked to stop, and one that does not listen is not waited for."""
    asked = threading.Event()

    class Patient(Gated):
        def evaluate(self, network: Any, data: Any) -> Any:
            self.began.set()
            while not (self.execution.should_stop and self.execution.should_stop()):
                time.sleep(0.01)
            asked.set()
            raise TrainingAbandoned(0, 1)

    for task in (Patient(), Gated()):
        results = queue.SimpleQueue[Evaluated]()
        network = task.network()
        evaluator = Evaluator(task, network, deliver=results.put, best=tmp_path / "best")
        evaluator.submit(1, dict(network.state_dict()))
        assert task.began.wait(20)
        evaluator.close()
        assert results.empty()
        task.gate.set()
    assert asked.wait(20)


def test_a_stop_does_not_wait_for_an_evaluation(tmp_path: Path) -> None:
    """Nor does whoever takes over: the next coordinator goes on from what was committed."""
    left = threading.Event()

    class Deaf(Gated):
        def evaluate(self, network: Any, data: Any) -> Any:
            try:
                return super().evaluate(network, data)
            finally:
                left.set()

    broker, task = FakeBroker(tmp_path), Deaf()
    broker.hello("ann")
    broker.on_version = lambda version: broker.update("ann", version) and None
    stopper = threading.Thread(target=lambda: task.began.wait(20) and broker.stop())
    stopper.start()
    outcome = broker.run(task, rounds=1)
    assert not left.is_set()
    assert (outcome.is_finished, outcome.rounds) == (False, 1)
    stopper.join()
    task.gate.set()


def test_nobody_gets_half_a_version_during_the_last_evaluation(tmp_path: Path) -> None:
    """The tensors of the last version that went out have changed by then."""
    heard = threading.Event()
    late: list[int] = []
    broker = FakeBroker(tmp_path)

    class Newcomer(Tiny):
        def evaluate(self, network: Any, data: Any) -> Any:
            late.extend(broker.hello("late"))
            assert heard.wait(20)
            return super().evaluate(network, data)

    def look() -> None:
        if late and late[0] in broker.consuming.tags_acknowledged:
            heard.set()

    broker.consuming.on_acknowledge = look
    resent: list[str] = []
    broker.on_resent = lambda participant, _version: resent.append(participant)
    broker.hello("ann")
    broker.on_version = lambda version: broker.update("ann", version) and None
    assert broker.run(Newcomer(), rounds=1).is_finished
    assert "late" not in resent


def test_a_round_whose_evaluation_was_skipped_is_told_without_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And in its order; the last one always has its accuracy."""
    monkeypatch.setattr(evaluation, "MOST_PENDING_BYTES", 0)
    broker, task = FakeBroker(tmp_path), Gated()
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

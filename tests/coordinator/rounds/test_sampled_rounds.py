"""Facts about `--fraction` on a real broker: services on threads, a task that trains at once."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from named_events import named
from torch import nn
from torch.utils.data import TensorDataset

from fanfold.coordinator.assembly import serve as serve_coordinator
from fanfold.coordinator.persistence.history import read_history
from fanfold.coordinator.rounds.sampling import draw
from fanfold.coordinator.settings import CoordinatorSettings
from fanfold.learning import Task, TrainingAbandoned, TrainingPlan
from fanfold.participant.assembly import serve as serve_participant
from fanfold.participant.settings import ParticipantSettings
from fanfold.schemas.events.event import Event

NAMES = [f"p{index}" for index in range(4)]


class Tiny(Task):
    """Moves its only parameter by one, when it is let."""

    may_train: ClassVar[threading.Event] = threading.Event()

    def network(self) -> nn.Module:
        return nn.Linear(1, 1, bias=False)

    def train_data(self) -> TensorDataset:
        return TensorDataset(torch.zeros(2, 1), torch.zeros(2, 1))

    def fit(self, network: nn.Module, data: Any, plan: TrainingPlan) -> list[dict[str, float]]:
        while not self.may_train.wait(0.05):
            if self.execution.should_stop and self.execution.should_stop():
                raise TrainingAbandoned(0, 1)
        with torch.no_grad():
            next(network.parameters()).add_(1.0)
        return [{"loss": 0.0}]


class Service:
    """A service on a thread of its own, and what it said."""

    def __init__(
        self, serve: Callable[..., Any], settings: Any, threads: ThreadPoolExecutor
    ) -> None:
        self.said: list[tuple[str, dict[str, Any]]] = []
        self._changed = threading.Condition()
        ready: Future[Callable[[str], None]] = Future()
        self.result = threads.submit(serve, settings, say=self._say, on_ready=ready.set_result)
        self.stop = ready.result(30)

    def _say(self, event: Event) -> None:
        with self._changed:
            self.said.append(named(event))
            self._changed.notify_all()

    def all(self, event: str) -> list[dict[str, Any]]:
        return [fields for name, fields in self.said if name == event]

    def wait_for(self, event: str, times: int = 1) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.all(event)) >= times, 30), self.said


class LiveFederation:
    """One federation: its coordinator can be started again and again."""

    def __init__(
        self, url: str, federation: str, folder: Path, threads: ThreadPoolExecutor
    ) -> None:
        self._common: dict[str, Any] = {"federation": federation, "broker": (url,), "device": "cpu"}
        self._task = f"{__name__}:Tiny"
        self._threads = threads
        self.folder = folder
        self.services: list[Service] = []

    def coordinator(self, **options: Any) -> Service:
        settings = CoordinatorSettings(
            **self._common, out=self.folder, task=self._task, min_participants=4, **options
        )
        return self._start(serve_coordinator, settings)

    def participant(self, name: str) -> Service:
        settings = ParticipantSettings(
            **self._common, id=name, task=self._task, progress_seconds=0.5, grace_seconds=0
        )
        return self._start(serve_participant, settings)

    def counted(self) -> list[set[str]]:
        """Who made each version, by the history."""
        return [
            {update["participant"] for update in record["updates"]}
            for record in read_history(self.folder / "history.jsonl")
            if record["event"] == "round"
        ]

    def _start(self, serve: Callable[..., Any], settings: Any) -> Service:
        self.services.append(Service(serve, settings, self._threads))
        return self.services[-1]


@pytest.fixture
def live(broker_url: str, federation: str, tmp_path: Path) -> Iterator[LiveFederation]:
    with _threads() as threads:
        live = LiveFederation(broker_url, federation, tmp_path, threads)
        yield live
        for service in live.services:
            service.stop("the test is over")


@contextmanager
def _threads() -> Iterator[ThreadPoolExecutor]:
    Tiny.may_train.set()
    with ThreadPoolExecutor(max_workers=12) as threads:
        yield threads


def drawn(round_number: int, names: list[str] = NAMES) -> set[str]:
    return set(draw(names, size=2, seed=5, round_number=round_number))


def test_each_round_a_drawn_half_gets_the_version_and_nobody_else(live: LiveFederation) -> None:
    """Through `F.resend`, and with bytes that were really sent."""
    coordinator = live.coordinator(fraction=0.5, seed=5, rounds=6)
    participants = {name: live.participant(name) for name in NAMES}
    coordinator.result.result(60)

    assert live.counted() == [drawn(number) for number in range(1, 7)]
    for name, participant in participants.items():
        versions = [fields["version"] for fields in participant.all("version_received")]
        assert versions == [number - 1 for number in range(1, 7) if name in drawn(number)]
    bytes_down = {fields["bytes_down"] for fields in coordinator.all("round_closed")}
    assert len(bytes_down) == 1
    assert bytes_down.pop() % 2 == 0


def test_the_sample_is_the_same_after_a_restart_and_a_newcomer_waits(live: LiveFederation) -> None:
    Tiny.may_train.clear()
    coordinator = live.coordinator(fraction=0.5, seed=5, rounds=1)
    participants = {name: live.participant(name) for name in NAMES}
    for name in drawn(1):
        participants[name].wait_for("version_received")
    coordinator.stop("a crash would do the same")
    coordinator.result.result(30)

    again = live.coordinator(fraction=0.5, seed=5, rounds=1)
    again.wait_for("run_resumed")
    newcomer = live.participant("newcomer")
    again.wait_for("participant_joined")
    Tiny.may_train.set()
    again.result.result(60)

    assert live.counted() == [drawn(1)]
    assert newcomer.all("version_received") == []


def test_when_the_whole_sample_leaves_others_are_drawn_at_once(live: LiveFederation) -> None:
    """The deadline is ten minutes away: nobody waits for it."""
    Tiny.may_train.clear()
    coordinator = live.coordinator(fraction=0.5, seed=5, rounds=1)
    participants = {name: live.participant(name) for name in NAMES}
    for name in drawn(1):
        participants[name].wait_for("version_received")
    for name in drawn(1):
        participants[name].stop("leaving for good")
        participants[name].result.result(30)
    remaining = set(NAMES) - drawn(1)
    (chosen,) = draw(remaining, size=1, seed=5, round_number=1)  # half of the two who are left
    participants[chosen].wait_for("version_received")
    Tiny.may_train.set()
    coordinator.result.result(60)

    assert live.counted() == [{chosen}]

"""Facts about what a coordinator does with its files when it starts again."""

import os
import socket
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from named_events import named

from fanfold.coordinator import committer
from fanfold.coordinator.admission.tally import Tally
from fanfold.coordinator.aggregation.differential_privacy import DifferentialPrivacy
from fanfold.coordinator.aggregation.optimizer_spec import parse_optimizer
from fanfold.coordinator.aggregation.refusals import UpdateLimits
from fanfold.coordinator.aggregation.run_state import RunState
from fanfold.coordinator.aggregation.staleness import parse_staleness
from fanfold.coordinator.committer import Committer
from fanfold.coordinator.evaluation.evaluator import Evaluator
from fanfold.coordinator.observer import Unobserved
from fanfold.coordinator.persistence.disk_retry import DISK_PAUSE_SECONDS, DiskRetry
from fanfold.coordinator.persistence.kept_versions import KeepRule, KeptVersions
from fanfold.coordinator.persistence.run_store import RunStore
from fanfold.coordinator.reporter import Reporter
from fanfold.coordinator.rounds.federation_state import FederationState
from fanfold.coordinator.rounds.presence import Presence
from fanfold.coordinator.rounds.sampling import Sampling
from fanfold.coordinator.settings import CoordinatorSettings
from fanfold.schemas.events.event import Event
from fanfold.schemas.messages import Update
from fanfold.schemas.reader_limits import ReaderLimits
from fanfold.transport import Delivery, EventBuffer, EventReader, StoppedError, Subscription
from tests.federation.tiny_tasks import Tiny


class Acknowledging:
    """A channel without a broker, and up to which delivery it acknowledged."""

    window = 512

    def __init__(self) -> None:
        self.up_to: list[int] = []

    def acknowledge_up_to(self, delivery: Delivery) -> None:
        self.up_to.append(delivery.tag)


class Start:
    """One start of a coordinator, without its broker."""

    def __init__(self, folder: Path, *, reader: EventReader | None = None) -> None:
        task = Tiny()
        network = task.network()
        settings = CoordinatorSettings(out=folder, dp_clip=1.0, dp_noise=1.0)
        tensors = {name: tensor.clone() for name, tensor in network.state_dict().items()}
        self.run = RunState(
            run_id="r",
            tensors=tensors,
            kinds=dict.fromkeys(tensors, "delta"),
            staleness=parse_staleness("constant"),
            optimizer=parse_optimizer("sgd:lr=1"),
            limits=UpdateLimits(),
            privacy=DifferentialPrivacy.of(settings.privacy),
        )
        self.store = RunStore(folder, ReaderLimits(max_bytes=1 << 20))
        self.tally = Tally(Unobserved())
        self.said: list[str] = []
        self.fields: list[dict[str, Any]] = []
        self.evaluator = Evaluator(task, network, deliver=lambda _: None, best=folder / "best")
        self.channel: Any = Acknowledging()
        state = FederationState(self.run, Presence(), Sampling(settings.policy, 0))
        reader = EventReader(EventBuffer()) if reader is None else reader
        disk_retry = DiskRetry(folder, state=state, reader=reader, say=self._say)
        self.committer = Committer(
            state,
            settings=settings,
            store=self.store,
            channel=self.channel,
            tally=self.tally,
            reporter=Reporter(
                state,
                settings=settings,
                store=self.store,
                evaluator=self.evaluator,
                disk_retry=disk_retry,
                kept_versions=KeptVersions(folder, KeepRule.parse("0")),
                say=self._say,
            ),
            disk_retry=disk_retry,
            observer=Unobserved(),
        )
        self.committer.take_epoch()
        self.committer.load(fresh=False, now=0.0)

    def _say(self, event: Event) -> None:
        name, fields = named(event)
        self.said.append(name)
        self.fields.append(fields)

    def round(self, participant: str) -> None:
        """Close a round of one update, and commit it."""
        self.fold(participant)
        names = [
            {"participant": each.participant, "base_version": each.base_version, "digest": "d"}
            for each in self.run.close_round()
        ]
        self.store.history.append({"event": "round", "updates": names})
        document, tensors = self.run.state()
        reports = {"last": {}, "waiting": []}
        state = {"run": document, "reports": reports, "present": []}
        self.store.commit({**state, "sample": None}, tensors)

    def fold(self, participant: str) -> None:
        """Fold an update into the open round."""
        self.run.announced("0" * 64)
        update = Update(
            run="r",
            participant=participant,
            base_version=self.run.version,
            base_digest="0" * 64,
            num_examples=1,
        )
        zeros = {name: tensor * 0 for name, tensor in self.run.tensors.items()}
        self.run.fold(update, zeros, f"{self.run.version}")

    def close(self) -> None:
        self.evaluator.close()
        self.store.close()


def test_what_a_damaged_checkpoint_counted_stays_paid_for(tmp_path: Path) -> None:
    """Its version was published with a noise that nobody can take back; the round runs again."""
    first = Start(tmp_path)
    for participant in ("ann", "bob"):
        first.round(participant)
    assert first.run.privacy_ledger.counts == {"ann": 1, "bob": 1}
    first.close()
    newest = tmp_path / "checkpoint.safetensors"
    newest.write_bytes(newest.read_bytes()[:-1])
    second = Start(tmp_path)
    assert second.said == ["checkpoint_damaged", "run_resumed"]
    assert second.run.version == 1
    assert second.run.privacy_ledger.counts == {"ann": 1, "bob": 1}
    second.round("bob")
    assert second.run.privacy_ledger.counts == {"ann": 1, "bob": 2}
    second.close()


class Waiting(EventReader):
    """Somebody does something in a pause, and then stops the service; no time passes otherwise."""

    def __init__(self, *meanwhile: Callable[[], object]) -> None:
        super().__init__(EventBuffer(), lambda: self.paused)
        self.meanwhile = list(meanwhile)
        self.paused = 0.0

    def pause(self, seconds: float) -> None:
        self.paused += seconds
        if self.paused < 2:
            return
        if not self.meanwhile:
            raise StoppedError("enough")
        self.meanwhile.pop(0)()


def test_who_stands_by_behind_a_stopped_coordinator_says_so_and_can_be_stopped(
    tmp_path: Path,
) -> None:
    """Its process holds the lock on the folder, and goes on with it if it is woken up."""
    first = Start(tmp_path)
    first.round("ann")
    with first.store.ours():
        reader = Waiting()
        with pytest.raises(StoppedError, match="enough"):
            Start(tmp_path, reader=reader)
    assert reader.paused > DISK_PAUSE_SECONDS
    first.close()


def test_who_stands_by_takes_over_when_the_stopped_one_is_ended(tmp_path: Path) -> None:
    first = Start(tmp_path)
    first.round("ann")
    with ExitStack() as held:
        held.enter_context(first.store.ours())
        second = Start(tmp_path, reader=Waiting(held.close))
    assert second.said[0] == "folder_locked"
    assert second.fields[0] == {
        "folder": str(tmp_path),
        "holder": f"process {os.getpid()} on {socket.gethostname()}",
    }
    assert second.run.version == 1
    first.close()
    second.close()


def test_a_commit_in_an_open_round_writes_its_progress_alone(tmp_path: Path) -> None:
    """And the next coordinator goes on with what it counted."""
    first = Start(tmp_path)
    first.committer.commit()
    base = (tmp_path / "checkpoint.safetensors").read_bytes()
    for participant in ("ann", "bob"):
        first.fold(participant)
        first.committer.commit()
    assert (tmp_path / "checkpoint.safetensors").read_bytes() == base
    first.close()
    second = Start(tmp_path)
    assert [each.participant for each in second.run.contributions] == ["ann", "bob"]
    assert second.run.running.sums.keys() == first.run.running.sums.keys()
    assert second.said == ["run_resumed"]
    second.close()


def test_parts_of_uploads_are_acknowledged_before_they_fill_the_brokers_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So many bytes at a time; where an update was counted they wait for the commit with it."""
    monkeypatch.setattr(committer, "MOST_PART_BYTES", 100)
    start, results = Start(tmp_path), Subscription("f.results", "coordinator", 512)

    def part(tag: int) -> None:
        delivery = Delivery(results, tag, False, "Update", "", "ann", {}, bytes(40))
        start.store.pending_acks.wait(delivery, now=0.0)
        start.committer.commit_if_due(0.0)

    for tag in range(1, 5):
        part(tag)
    assert start.channel.up_to == [3]
    start.tally.arrived("ann")
    for tag in range(5, 9):
        part(tag)
    assert start.channel.up_to == [3]
    start.close()

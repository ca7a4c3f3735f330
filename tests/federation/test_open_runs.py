"""Facts about a participant that takes part in whatever allowed run is opened, over the broker."""

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pika
import pytest
from safetensors.torch import load_file

from fanfold.coordinator.admission.event_decoder import EVENT_LIMITS
from fanfold.coordinator.broker.queue_arguments import participant_queue_arguments
from fanfold.learning import task_sha256
from fanfold.participant.assembly import serve as serve_participant
from fanfold.participant.settings import ParticipantSettings
from fanfold.schemas.chunking import cut
from fanfold.schemas.message_codec import decode, encode
from fanfold.schemas.messages import Hello, Message
from fanfold.schemas.names import EVENT_KEY, FederationNames
from fanfold.schemas.run_messages import OpenRun, OpenRuns, RunDeclined
from fanfold.schemas.tensor_codec import parameters_sha256
from tests.federation.test_regions import start_region
from tests.federation.tiny_tasks import MODULE

PATIENCE_SECONDS = 60
TINY, GATED = f"{MODULE}:Tiny", f"{MODULE}:Gated"


class ResidentCoordinator:
    """Says which runs are open, and hears who declines, as `fanfold serve` does."""

    def __init__(self, url: str, federation: str) -> None:
        self.names = FederationNames(federation)
        self._connection = pika.BlockingConnection(pika.URLParameters(url))
        self._channel = self._connection.channel()
        names = self.names
        for exchange, kind in (
            (names.parameters_exchange, "fanout"),
            (names.resend_exchange, "direct"),
            (names.reports_exchange, "direct"),
        ):
            self._channel.exchange_declare(exchange, kind, durable=True)
        self._channel.queue_declare(names.events_queue, durable=True)
        self._channel.queue_bind(names.events_queue, names.reports_exchange, EVENT_KEY)
        self.heard: list[Message] = []
        self._incoming = self._channel.consume(
            names.events_queue, auto_ack=True, inactivity_timeout=PATIENCE_SECONDS
        )

    def enrol(self, participant: str) -> None:
        queue = self.names.participant_queue(participant)
        arguments = {"x-queue-type": "classic", **participant_queue_arguments()}
        self._channel.queue_declare(queue, durable=True, arguments=arguments)
        self._channel.queue_bind(queue, self.names.parameters_exchange)

    def open(self, *runs: OpenRun) -> None:
        self.send(OpenRuns(runs=runs))

    def send(self, message: Message) -> None:
        (chunk,) = cut(encode(message))
        properties = pika.BasicProperties(type=message.KIND, headers=dict(chunk.headers))
        self._channel.basic_publish(
            self.names.parameters_exchange, "", bytes(chunk.body), properties
        )

    def hear(self, is_it: Callable[[Message], bool]) -> Message:
        """Return the first message that was or will be heard and is it."""
        for message in self.heard:
            if is_it(message):
                return message
        for method, properties, body in self._incoming:
            assert method is not None, self.heard
            kind = properties.type
            self.heard.append(decode(memoryview(body), kind=kind, limits=EVENT_LIMITS).message)
            if is_it(self.heard[-1]):
                break
        return self.heard[-1]

    def close(self) -> None:
        self._connection.close()


@pytest.fixture
def resident(live: Any) -> Iterator[ResidentCoordinator]:
    """The resident coordinator of a federation in which p0 is enrolled."""
    resident = ResidentCoordinator(live.url, live.name)
    resident.enrol("p0")
    yield resident
    resident.close()


def open_run(run: str, task: str = TINY, sha256: str | None = None) -> OpenRun:
    return OpenRun(run=run, task=task, task_sha256=sha256 or task_sha256(task))


def coordinator(live: Any, run: str, task: str = "Tiny", **options: Any) -> Any:
    given = {"federation": f"{live.name}.run.{run}", "out": live.out / run, "rounds": 3}
    return live.coordinator(task, **(given | options))


def participant(live: Any, *allowed: str, **options: Any) -> Any:
    return live.participant("Tiny", allow=allowed, **options)


def alone(live: Any, tmp_path: Path, task: str = "Tiny", **options: Any) -> str:
    """Return the hash of the same run, alone in its federation, with an ordinary participant."""
    name = f"{live.name}-alone"
    settings = {"federation": name, "out": tmp_path / name, "rounds": 3, **options}
    running = live.coordinator(task, **settings)
    live.participant(task, federation=name, once=True)
    return str(running.result.result(PATIENCE_SECONDS).parameters_sha256)


@pytest.mark.slow
def test_runs_are_served_one_after_the_other_without_a_restart(
    live: Any, resident: ResidentCoordinator, tmp_path: Path
) -> None:
    """Each is what it is alone, with a state folder of its own; what is over leaves nothing."""
    served = participant(live, TINY, state_dir=tmp_path / "state")
    for run, lr in (("first", 0.1), ("second", 0.3)):
        running = coordinator(live, run, lr=lr)
        resident.open(open_run(run))
        outcome = running.result.result(PATIENCE_SECONDS)
        assert outcome.is_finished
        assert outcome.parameters_sha256 == parameters_sha256(load_file(outcome.model))
        resident.open()
        served.wait_until(lambda run=run: {"run": run} in served.all("run_left"))
        served.wait_until(lambda: served.said[-1][0] == "waiting_for_runs")
        assert outcome.parameters_sha256 == alone(live, tmp_path / run, lr=lr)
    assert [each["run"] for each in served.all("run_served")] == ["first", "second"]
    assert served.said[-1] == ("waiting_for_runs", {"federation": live.name, "declined": 0})
    assert [thread.name for thread in threading.enumerate() if thread.name.startswith("run ")] == []
    assert sorted(path.name for path in (tmp_path / "state").iterdir()) == []


@pytest.mark.slow
def test_several_runs_at_once_are_each_what_they_are_alone(
    live: Any, resident: ResidentCoordinator, tmp_path: Path
) -> None:
    """Though each training draws an order from generators that belong to the whole process."""
    drawn = f"{MODULE}:ByLibrary"
    options = {
        run: {"lr": lr, "seed": seed, "batch_size": 2, "rounds": 30}
        for run, lr, seed in (("slow", 0.01, 1), ("usual", 0.1, 2), ("fast", 0.5, 3))
    }
    served = participant(live, drawn)
    running = {run: coordinator(live, run, "ByLibrary", **given) for run, given in options.items()}
    resident.open(*(open_run(run, drawn) for run in options))
    hashes = {
        run: each.result.result(PATIENCE_SECONDS).parameters_sha256 for run, each in running.items()
    }
    assert hashes == {
        run: alone(live, tmp_path / run, "ByLibrary", **given) for run, given in options.items()
    }
    assert len(set(hashes.values())) == 3
    sent = [each["in_run"] for each in served.all("update_sent")]
    assert {run: sent.count(run) for run in options} == dict.fromkeys(options, 30)


def test_another_task_and_other_code_are_declined_in_words_to_both_sides(
    live: Any, resident: ResidentCoordinator
) -> None:
    """And the run beside them goes on."""
    allowed = f"{TINY}@sha256:{task_sha256(TINY)}"
    served = participant(live, allowed)
    running = coordinator(live, "good")
    runs = (open_run("good"), open_run("changed", sha256="0" * 64), open_run("unlisted", GATED))
    resident.open(*runs)
    declined: dict[str, str] = {}
    while len(declined) < 2:
        told = resident.hear(
            lambda message: isinstance(message, RunDeclined) and message.run not in declined
        )
        assert isinstance(told, RunDeclined)
        declined[told.run] = told.reason
    assert "has the hash 000000000000..., and what is allowed here has" in declined["changed"]
    assert declined["unlisted"] == (
        f"the task {GATED} is not allowed here; its owner would have to --allow {GATED}"
    )
    served.wait_for("run_declined", times=2)
    assert {each["run"]: each["reason"] for each in served.all("run_declined")} == declined
    assert running.result.result(PATIENCE_SECONDS).is_finished


def test_the_same_word_is_declined_once(live: Any, resident: ResidentCoordinator) -> None:
    served = participant(live, TINY)
    for _ in range(3):
        resident.open(open_run("unlisted", GATED))
    served.wait_for("waiting_for_runs", times=3)
    resident.open(open_run("other", GATED))
    resident.hear(lambda message: isinstance(message, RunDeclined) and message.run == "other")
    runs = [message.run for message in resident.heard if isinstance(message, RunDeclined)]
    assert runs == ["unlisted", "other"]


def test_a_run_that_fails_here_is_declined_and_the_others_go_on(
    live: Any, resident: ResidentCoordinator, tmp_path: Path
) -> None:
    """The submitter is told why, in the words of who failed."""
    served = participant(live, TINY, "tests.federation.tiny_tasks:Absent")
    absent = open_run("broken", "tests.federation.tiny_tasks:Absent", sha256=task_sha256(TINY))
    running = coordinator(live, "good")
    resident.open(absent, open_run("good"))
    told = resident.hear(lambda message: isinstance(message, RunDeclined))
    assert isinstance(told, RunDeclined)
    assert told.run == "broken"
    assert told.reason == "the module 'tests.federation.tiny_tasks' has no class 'Absent'"
    assert running.result.result(PATIENCE_SECONDS).is_finished
    assert {each["run"] for each in served.all("run_declined")} == {"broken"}


def test_a_run_that_is_paused_and_goes_on_finds_what_was_kept(
    live: Any, resident: ResidentCoordinator, tmp_path: Path
) -> None:
    """Its state folder is still there, and nothing is trained twice."""
    served = participant(live, TINY, state_dir=tmp_path / "state")
    running = coordinator(live, "long", rounds=1000)
    resident.open(open_run("long"))
    running.wait_for("round_closed")
    running.stop("paused")
    running.result.result(PATIENCE_SECONDS)
    resident.open()
    served.wait_for("run_left")
    assert (tmp_path / "state/long/last-training.fanfold").exists()
    lines = (live.out / "long/history.jsonl").read_text().splitlines()
    done = max(json.loads(line).get("round", 0) for line in lines)
    again = coordinator(live, "long", rounds=done + 2)
    resident.open(open_run("long"))
    outcome = again.result.result(PATIENCE_SECONDS)
    assert outcome.is_finished
    assert outcome.parameters_sha256 == alone(live, tmp_path, rounds=done + 2)


def test_hello_asks_for_the_runs_and_a_stop_ends_all_of_them(
    live: Any, resident: ResidentCoordinator
) -> None:
    served = participant(live, TINY)
    hello = resident.hear(lambda message: isinstance(message, Hello))
    assert isinstance(hello, Hello)
    assert (hello.participant, hello.consuming, hello.version) == ("p0", True, None)
    for run in ("one", "two"):
        coordinator(live, run, rounds=1000)
    resident.open(open_run("one"), open_run("two"))
    served.wait_until(lambda: len({each["in_run"] for each in served.all("update_sent")}) == 2)
    served.stop("enough")
    assert served.result.result(PATIENCE_SECONDS)
    resident.hear(lambda message: message.KIND == "Goodbye")


def test_what_is_no_word_of_a_resident_coordinator_is_said_and_passed_over(
    live: Any, resident: ResidentCoordinator
) -> None:
    """Such as a version of the federation's time before it."""
    served = participant(live, TINY)
    live.coordinator("Tiny", out=live.out / "ordinary", rounds=1)
    (refused,) = served.wait_for("message_refused")
    assert "start this participant with --task instead of --allow" in refused["reason"]


def test_a_participant_with_a_task_is_told_how_to_take_part_in_runs(
    live: Any, resident: ResidentCoordinator, tmp_path: Path
) -> None:
    """And a region that it does not."""
    resident.enrol("north")
    ordinary, region = live.participant("Tiny"), start_region(live, "north", tmp_path)
    resident.open(open_run("first"))
    for each in (ordinary, region):
        (refused,) = each.wait_for("message_refused")
        assert "start this participant with --allow TASK instead of --task" in refused["reason"]
        assert "a region takes part where `fanfold coordinator` runs" in refused["reason"]


def test_a_replica_serves_runs_under_the_name_of_its_slot(
    live: Any, resident: ResidentCoordinator, tmp_path: Path
) -> None:
    """And with its share of the data; the slot belongs to the federation, and not to a run."""
    resident.enrol("slot-0")
    settings = ParticipantSettings(
        federation=live.name,
        broker=(live.url,),
        device="cpu",
        slots=2,
        allow=(TINY,),
        state_dir=tmp_path / "state",
    )
    served = live.start(serve_participant, settings)
    running = coordinator(live, "first")
    resident.open(open_run("first"))
    assert running.result.result(PATIENCE_SECONDS).is_finished
    assert (tmp_path / "state/slot-0/first").exists()
    assert {each["run"] for each in served.all("run_served")} == {"first"}
    assert {each["participant"] for each in served.all("slot_claimed")} == {"slot-0"}
    (first, *_) = running.all("round_closed")
    assert first["examples"] == 5  # the first of two shares

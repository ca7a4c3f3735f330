"""Facts about an update that the coordinator refused: who trains its version again, and who not."""

import queue
from pathlib import Path
from typing import Literal

import pytest
import torch
from torch import Tensor

from fanfold.participant.training_state import KEPT_UPDATES, TrainingState
from fanfold.participant.version import Version
from fanfold.participant.worker_events import Answered
from fanfold.schemas.error_feedback import encode_with_feedback
from fanfold.schemas.message_codec import Encoded
from fanfold.schemas.messages import Update, UpdateRefused
from tests.participant.small_worker import LIMITS, FakeChannel, version_of, worker_over
from tests.schemas.fuzz_target import sent_and_received


def refused(*, again: bool) -> UpdateRefused:
    return UpdateRefused(run="run", base_version=0, reason="non-finite values", again=again)


def answer(delivered: "queue.Queue[object]") -> Answered:
    answered = delivered.get(timeout=60)
    assert isinstance(answered, Answered)
    return answered


@pytest.mark.parametrize("again", [True, False])
def test_only_the_next_start_trains_a_refused_version_again(tmp_path: Path, again: bool) -> None:
    """And only where another update could count: this process would train the very same."""
    made, version, delivered = worker_over(tmp_path, FakeChannel())
    made.submit(version)
    assert answer(delivered).trained is not None
    made.refused(refused(again=again))
    made.submit(version)
    assert answer(delivered).trained is None
    made.close()

    next_start, _, delivered = worker_over(tmp_path, FakeChannel())
    next_start.submit(version)
    assert (answer(delivered).trained is not None) == again
    next_start.close()


def train(training_state: TrainingState, number: int, delta: Tensor) -> Encoded:
    """Train a version by top-k, and keep its update as a training worker does."""
    message = Update(
        run="run", participant="ann", base_version=number, base_digest=f"{number:064}",
        num_examples=1,
    )  # fmt: skip
    encoded, left = encode_with_feedback(
        message,
        {"w": delta},
        training_state.owed_to("run"),
        kinds={"w": "delta"},
        encoding="topk:0.1",
    )
    training_state.keep(encoded, residual=left, private={"head": torch.ones(2)})
    return encoded


def told(number: int, fault: Literal["age", "content"] | None) -> UpdateRefused:
    return UpdateRefused(run="run", base_version=number, reason="", fault=fault)


@pytest.mark.parametrize("is_late", [False, True], ids=["at once", "when the next ones are out"])
def test_what_came_too_late_is_owed_again(tmp_path: Path, is_late: bool) -> None:
    """Sent + owed is what was trained, to the bit: none of it is lost, and none is sent twice."""
    training_state, counted, trained = (
        TrainingState(tmp_path, LIMITS),
        torch.zeros(100),
        torch.zeros(100),
    )
    generator = torch.Generator().manual_seed(0)
    for number in range(3):
        delta = torch.randint(-999, 999, (100,), generator=generator).float()
        trained += delta
        encoded = train(training_state, number, delta)
        if number != 1:
            counted += sent_and_received(encoded)["w"]
        elif not is_late:
            training_state.refused(told(1, "age"))
    if is_late:
        training_state.refused(told(1, "age"))
    training_state.refused(told(1, "age"))  # twice changes nothing
    for life in (training_state, TrainingState(tmp_path, LIMITS)):
        assert torch.equal(counted + life.owed_to("run")["w"], trained)
        assert life.answer_to(version(1)) is None
        assert life.answer_to(version(2)) is not None
    assert torch.equal(TrainingState(tmp_path, LIMITS).private["head"], torch.ones(2))


def test_what_nobody_answered_is_taken_for_counted(tmp_path: Path) -> None:
    """The broker has it; owed again, it could be sent twice."""
    training_state = TrainingState(tmp_path, LIMITS)
    train(training_state, 0, torch.arange(100.0))
    owed = training_state.owed_to("run")["w"]
    training_state.refused(told(0, None))
    training_state.refused(told(7, "age"))
    training_state.refused(UpdateRefused(run="another", base_version=0, reason="", fault="age"))
    train(training_state, 1, torch.zeros(100))
    assert training_state.owed_to("run")["w"].sum() < owed.sum()
    assert TrainingState(tmp_path, LIMITS).answer_to(version(0)) is not None


def test_what_was_refused_for_its_values_takes_along_what_is_owed(tmp_path: Path) -> None:
    """What one bad training left behind would spoil every update after it, and have it refused."""
    training_state = TrainingState(tmp_path, LIMITS)
    train(training_state, 0, torch.full((100,), 1e30))
    training_state.refused(told(0, "content"))
    for life in (training_state, TrainingState(tmp_path, LIMITS)):
        assert not life.owed_to("run")


def test_only_a_few_updates_wait_for_an_answer(tmp_path: Path) -> None:
    """And those of another run none."""
    training_state = TrainingState(tmp_path, LIMITS)
    for number in range(KEPT_UPDATES + 1):
        train(training_state, number, torch.arange(100.0))
    kept = [number for number in range(9) if training_state.answer_to(version(number))]
    assert kept == [*range(1, KEPT_UPDATES + 1)]


def test_an_update_before_another_encoding_is_owed_again_too(tmp_path: Path) -> None:
    """Int8 leaves something owed where top-k did before it, and so several updates are kept."""
    made, _, delivered = worker_over(tmp_path, FakeChannel())
    versions = [version_of(n, encoding) for n, encoding in enumerate(["topk:0.1", "int8", "int8"])]
    for each in versions:
        made.submit(each)
        answer(delivered)
    assert made.close()
    state = TrainingState(tmp_path, LIMITS)
    owed, late = state.owed_to("run"), state.answer_to(versions[1])
    assert late is not None
    state.refused(told(1, "age"))
    sent = sent_and_received(late)
    assert all(torch.equal(state.owed_to("run")[name], owed[name] + sent[name]) for name in owed)


def version(number: int) -> Version:
    return Version("run", 1, number, f"{number:064}", 1, None)

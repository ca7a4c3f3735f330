"""Facts about a run as plain state: what counts, what is refused and why, and what survives."""

from hashlib import sha256
from typing import Any

import pytest
import torch
from torch import Tensor

from fanfold.coordinator.aggregation.optimizer_spec import parse_optimizer
from fanfold.coordinator.aggregation.refusals import Reason, Refusal, UpdateLimits
from fanfold.coordinator.aggregation.run_state import RunState
from fanfold.coordinator.aggregation.staleness import parse_staleness
from fanfold.schemas.errors import InvalidInputError
from fanfold.schemas.messages import Update

KINDS = {"w": "delta", "var": "value", "count": "value"}


def digest_of(text: str) -> str:
    return sha256(text.encode()).hexdigest()


def new_run(optimizer: str = "sgd:lr=1,momentum=0.9", **limits: Any) -> RunState:
    return RunState(
        run_id="run",
        tensors={"w": torch.ones(3), "var": torch.ones(3), "count": torch.tensor(0)},
        kinds=KINDS,
        staleness=parse_staleness("polynomial:0.5"),
        optimizer=parse_optimizer(optimizer),
        limits=UpdateLimits(**limits),
    )


def announced(run: RunState) -> str:
    """Announce the current version and return its digest."""
    digest = digest_of(f"version {run.version}")
    run.announced(digest)
    return digest


def update(of: RunState, participant: str = "ann", **changed: Any) -> Update:
    fields: dict[str, Any] = {
        "run": of.run_id,
        "participant": participant,
        "base_version": of.version,
        "base_digest": digest_of(f"version {of.version}"),
        "num_examples": 10,
    }
    return Update(**(fields | changed))


def tensors(step: float = 0.5) -> dict[str, Tensor]:
    return {"w": torch.full((3,), step), "var": torch.full((3,), 2.0), "count": torch.tensor(4)}


def count(run: RunState, sent: Update, step: float = 0.5) -> None:
    digest = digest_of(f"{sent.participant} {sent.base_version}")
    assert run.judge(sent, digest) is None
    assert run.inspect(tensors(step), KINDS) is None
    run.fold(sent, tensors(step), digest)


def reason(refusal: Refusal | None) -> Reason:
    assert refusal is not None
    return refusal.reason


def test_a_round_turns_a_version_into_the_next() -> None:
    """And says what it was made of, in the order of folding."""
    run = new_run()
    announced(run)
    count(run, update(run, "bob"))
    count(run, update(run, "ann", num_examples=30, metrics={"loss": 2.0, "bad": float("nan")}))
    contributions = run.close_round()
    assert run.version == 1
    assert [each.participant for each in contributions] == ["bob", "ann"]
    assert contributions[1].metrics == {"loss": 2.0}
    assert run.tensors["w"].tolist() == [1.5] * 3
    assert run.tensors["count"].item() == 4
    assert run.contributions == []


def test_every_version_but_the_current_one_has_a_staleness() -> None:
    """Current minus base, taken when it is folded, and the weight that follows."""
    run = new_run(max_staleness=5)
    announced(run)
    late = update(run, "late")
    for name in ("ann", "bob", "cid"):
        count(run, update(run, name))
        run.close_round()
        announced(run)
    contribution = run.fold(late, tensors(), digest_of("late"))
    assert (contribution.staleness, contribution.weight) == (3, 0.5)


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"run": "other"}, Reason.UNKNOWN_RUN),
        ({"base_digest": digest_of("forged")}, Reason.UNKNOWN_BASE),
        ({"base_version": 7}, Reason.UNKNOWN_BASE),
        ({"base_version": 0}, Reason.STALE),
        ({"num_examples": 101}, Reason.TOO_MANY_EXAMPLES),
    ],
)
def test_what_a_document_is_refused_for(changed: dict[str, Any], expected: Reason) -> None:
    """Each with its own reason, before any tensor is looked at."""
    run = new_run(max_examples=100)
    announced(run)
    run.close_round()
    announced(run)
    assert reason(run.judge(update(run, **changed), digest_of("it"))) is expected


def test_one_participant_has_one_update_for_each_version() -> None:
    """The same again is a duplicate; another under the same name is noted, and older ones too."""
    run = new_run(max_staleness=5)
    announced(run)
    first = update(run)
    count(run, first)
    again = run.judge(first, digest_of("ann 0"))
    assert reason(again) is Reason.DUPLICATE
    assert str(again) == "already counted"
    other = run.judge(first, digest_of("another"))
    assert reason(other) is Reason.DUPLICATE
    assert "another update on this version" in str(other)
    run.close_round()
    announced(run)
    assert reason(run.judge(first, digest_of("ann 0"))) is Reason.DUPLICATE
    assert run.judge(update(run), digest_of("ann 1")) is None


@pytest.mark.parametrize(
    ("sent", "kinds", "expected"),
    [
        ({}, {}, Reason.INCOMPATIBLE),
        ({"x": torch.ones(3)}, {"x": "delta"}, Reason.INCOMPATIBLE),
        ({"w": torch.ones(4)}, {"w": "delta"}, Reason.INCOMPATIBLE),
        ({"w": torch.ones(3, dtype=torch.float64)}, {"w": "delta"}, Reason.INCOMPATIBLE),
        ({"w": torch.ones(3)}, {"w": "value"}, Reason.INCOMPATIBLE),
        ({"w": torch.tensor([1.0, float("nan"), 1.0])}, {"w": "delta"}, Reason.NON_FINITE),
        ({"var": torch.tensor([1.0, float("inf"), 1.0])}, {"var": "value"}, Reason.NON_FINITE),
        ({"w": torch.full((3,), 9.0)}, {"w": "delta"}, Reason.TOO_LARGE),
    ],
)
def test_what_tensors_are_refused_for(
    sent: dict[str, Tensor], kinds: dict[str, str], expected: Reason
) -> None:
    """Nothing of a refused update reaches the sum."""
    run = new_run(max_norm=10.0)
    assert reason(run.inspect(sent, kinds)) is expected


def test_a_restored_run_goes_on_bit_for_bit() -> None:
    """In the middle of a round, with momentum from the rounds before."""
    runs = [new_run(max_staleness=2), new_run(max_staleness=2)]
    for run in runs:
        announced(run)
        count(run, update(run, "ann", metrics={"loss": 1.0}), step=0.1)
        run.close_round()
        announced(run)
        count(run, update(run, "ann"), step=0.3)
    through, stopped = runs

    document, state = stopped.state()
    saved = {path: tensor.clone() for path, tensor in state.items()}
    restored = new_run(max_staleness=2)
    restored.restore(document, saved)
    assert restored.state()[0] == document
    for run in (through, restored):
        count(run, update(run, "bob"), step=-0.7)
        run.close_round()
    assert restored.version == through.version == 2
    assert all(torch.equal(restored.tensors[name], through.tensors[name]) for name in KINDS)
    duplicate = update(restored, "bob", base_version=1, base_digest=digest_of("version 1"))
    assert reason(restored.judge(duplicate, digest_of("bob 1"))) is Reason.DUPLICATE


def test_another_tasks_checkpoint_is_refused() -> None:
    """In a sentence that says what to do, and before anything has changed."""
    document, _ = new_run().state()
    run = new_run()
    with pytest.raises(InvalidInputError, match=r"not those of this task's network.*--fresh"):
        run.restore(document, {"parameters/w": torch.ones(4)})
    assert run.tensors["w"].tolist() == [1.0] * 3


@pytest.mark.parametrize("optimizer", ["sgd", "sgd:lr=0.5"])
def test_a_goal_of_one_is_fedasync_in_delta_form(optimizer: str) -> None:
    """Xie et al. 2019, algorithm 1: x + lr * s(tau) * delta, whatever the number of examples."""
    run = new_run(optimizer, max_staleness=5)
    lr = float(optimizer.partition("=")[2] or 1)
    announced(run)
    x = run.tensors["w"].clone()
    for number, (staleness, step) in enumerate([(0, 0.5), (1, -0.25), (2, 0.125), (0, 0.5)]):
        sent = update(
            run,
            f"p{number}",
            base_version=run.version - staleness,
            base_digest=digest_of(f"version {run.version - staleness}"),
            num_examples=10 + number,
        )
        count(run, sent, step)
        run.close_round()
        announced(run)
        x += lr * (1 + staleness) ** -0.5 * step
        torch.testing.assert_close(run.tensors["w"], x, rtol=1e-7, atol=1e-7)

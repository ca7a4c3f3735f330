"""What the coordinator believes of what arrives, before and after it opens it."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from blake3 import blake3

from fanfold.coordinator.admission.rate_limits import (
    ATTEMPT_SECONDS,
    MAX_ANSWERS,
    MAX_ATTEMPTS,
    MAX_COPIES,
    MAX_MALFORMED,
    MAX_NEWS,
    NOTE_SECONDS,
    SPARE_CHUNKS,
    RateLimits,
    Sender,
)
from fanfold.coordinator.admission.sender_check import SenderCheck
from fanfold.coordinator.aggregation.refusals import Reason, Refusal, UpdateLimits
from fanfold.coordinator.aggregation.tensor_checks import TensorChecks
from fanfold.coordinator.persistence.spool import UNFINISHED_PER_SENDER, Spool
from fanfold.schemas.chunking import ChunkHeader, Labels, WholeMessage
from fanfold.schemas.errors import MalformedMessageError
from fanfold.schemas.reader_limits import ReaderLimits

KINDS = {"weight": "delta", "mean": "value", "count": "value"}
MODEL = {"weight": torch.ones(4), "mean": torch.zeros(4), "count": torch.tensor(3)}
LIMITS = ReaderLimits(max_bytes=1 << 20)
MALLORY, ALICE = ("mallory", "mallory"), ("alice", "alice")


def header(number: int, index: int = 0, count: int = 3) -> ChunkHeader:
    labels = Labels(run="r", version=0, participant="mallory", examples=1)
    whole = WholeMessage("Update", f"{number:064x}", count, 1024, 1024 * count, labels)
    return ChunkHeader(whole, index, bytes(32))


def outside(keeper: RateLimits, sender: Sender, number: int, *, before: bool = False) -> Any:
    """Why the first chunk of an update is not looked at; None means that it is."""
    return keeper.of_chunk(
        sender, header(number), None, instance="i", counted_before=before
    ).refusal


def told(keeper: RateLimits, sender: Sender, version: int) -> bool:
    """Whether a refusal on this version is told to its sender."""
    refusal = Refusal(Reason.NON_FINITE, "in 'weight'")
    return keeper.of_update(sender, "d", version, refusal, instance="i").may_answer


def noted(keeper: RateLimits, login: str) -> bool:
    """Whether a malformed message is noted."""
    return keeper.of_mistake(login, Refusal(Reason.MALFORMED, "x"), can_answer=False).may_note


def inspected(**changed: torch.Tensor) -> Reason | None:
    refusal = TensorChecks.of(MODEL, KINDS, UpdateLimits()).inspect(
        changed, {name: KINDS[name] for name in changed}
    )
    return refusal.reason if refusal else None


def test_a_name_is_believed_if_it_is_the_login() -> None:
    assert SenderCheck().refusal(*ALICE) is None


@pytest.mark.parametrize("login", [None, "", "mallory", "Alice"])
def test_another_login_or_none_at_all_is_refused(login: str | None) -> None:
    refusal = SenderCheck().refusal(login, "alice")
    assert refusal is not None
    assert refusal.reason is Reason.WRONG_SENDER


def test_a_login_shared_on_purpose_may_speak_under_any_name() -> None:
    sender_check = SenderCheck({"lab"})
    assert sender_check.refusal("lab", "alice") is None
    assert sender_check.refusal("mallory", "alice") is not None


@pytest.mark.parametrize("value", [1e30, -1e30, 1e13, float("nan"), float("inf")])
def test_no_setting_is_needed_to_refuse_what_would_ruin_a_model(value: float) -> None:
    expected = Reason.TOO_LARGE if math.isfinite(value) else Reason.NON_FINITE
    assert inspected(weight=torch.tensor([0.0, 0.0, 0.0, value])) is expected


def test_a_small_model_may_learn_numbers_as_large_as_prices_and_populations() -> None:
    """The first steps of a regression are as large as what it learns."""
    assert inspected(weight=torch.tensor([0.0, 0.0, 0.0, 8e9])) is None


def test_a_buffer_may_learn_the_variance_of_raw_pixels_but_not_1e30() -> None:
    assert inspected(mean=torch.full((4,), 5000.0)) is None
    assert inspected(mean=torch.full((4,), 1e30)) is Reason.TOO_LARGE


@pytest.mark.parametrize("scale", [1e6, 1e9])
def test_the_first_statistics_of_raw_columns_are_ordinary(scale: float) -> None:
    """Their variance is the square of their scale, where the buffer began with 1."""
    assert inspected(mean=torch.full((4,), 0.1 * scale**2)) is None


@pytest.mark.parametrize(
    ("sent", "limits", "option"),
    [
        ({"weight": torch.full((4,), 1e30)}, UpdateLimits(), "--max-update-norm"),
        ({"weight": torch.ones(4)}, UpdateLimits(max_norm=1.0), "--max-update-norm"),
        ({"mean": torch.full((4,), 1e30)}, UpdateLimits(), "--max-buffer-norm"),
        ({"mean": torch.full((4,), 5.0)}, UpdateLimits(max_buffer_norm=1.0), "--max-buffer-norm"),
        ({"count": torch.tensor(2**62)}, UpdateLimits(), "--max-buffer-norm"),
        ({"count": torch.tensor(30)}, UpdateLimits(max_buffer_norm=9.0), "--max-buffer-norm"),
    ],
)
def test_a_bound_is_named_with_the_option_that_sets_it(
    sent: dict[str, torch.Tensor], limits: UpdateLimits, option: str
) -> None:
    refusal = TensorChecks.of(MODEL, KINDS, limits).inspect(sent, KINDS)
    assert refusal is not None
    assert refusal.reason is Reason.TOO_LARGE
    assert f"the coordinator's {option} sets the bound" in refusal.detail


def test_a_bound_that_was_set_is_the_one_that_holds() -> None:
    """In place of what follows from the model, in either direction."""
    checks = TensorChecks.of(MODEL, KINDS, UpdateLimits(max_norm=1e9, max_buffer_norm=1e25))
    assert checks.inspect({"weight": torch.full((4,), 1e8)}, KINDS) is None
    assert checks.inspect({"mean": torch.full((4,), 1e24)}, KINDS) is None
    assert checks.inspect({"count": torch.tensor(2**62)}, KINDS) is None


def test_a_bound_is_exact() -> None:
    """What is below it by less than the quick look at an update can tell still passes."""
    found = []
    for most in (2.0, 1.999):
        checks = TensorChecks.of(MODEL, KINDS, UpdateLimits(max_norm=most))
        found.append(checks.inspect({"weight": torch.ones(4)}, KINDS))  # of norm 2
    assert [each and each.reason for each in found] == [None, Reason.TOO_LARGE]


HOLES = torch.tensor([1.0, float("inf"), float("-inf"), float("nan")])


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (HOLES.tolist(), None),
        ([2.0, 3.0, 4.0, 5.0], None),
        ([math.inf, math.inf, -math.inf, math.nan], Reason.NON_FINITE),
        ([1.0, -math.inf, -math.inf, math.nan], Reason.NON_FINITE),
        ([1.0, math.inf, -math.inf, math.inf], Reason.NON_FINITE),
        ([1.0, 1e30, -math.inf, math.nan], Reason.TOO_LARGE),
    ],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_what_is_not_finite_is_no_fault_where_the_model_says_the_same(
    values: list[float], expected: Reason | None, dtype: torch.dtype
) -> None:
    """As masks and the limits of observers do; and such a limit may become a number."""
    checks = TensorChecks.of({"mean": HOLES.to(dtype)}, KINDS, UpdateLimits())
    refusal = checks.inspect({"mean": torch.tensor(values, dtype=dtype)}, KINDS)
    assert (refusal and refusal.reason) is expected


def test_the_delta_of_a_constant_that_is_not_finite_is_no_fault() -> None:
    """It is infinity less infinity; any other one is refused."""
    checks = TensorChecks.of({"weight": HOLES}, KINDS, UpdateLimits())
    assert checks.inspect({"weight": HOLES - HOLES}, KINDS) is None
    refusal = checks.inspect({"weight": torch.full((4,), math.nan)}, KINDS)
    assert refusal is not None
    assert refusal.reason is Reason.NON_FINITE


def test_a_count_of_batches_cannot_jump_to_the_end_of_its_range() -> None:
    assert inspected(count=torch.tensor(10_000)) is None
    assert inspected(count=torch.tensor(2**62)) is Reason.TOO_LARGE


@pytest.mark.parametrize(
    ("dtype", "step"), [("int64", 2**40), ("int32", 2**24), ("uint32", 2**24), ("int16", 2**12)]
)
def test_each_value_of_an_integer_buffer_grows_by_a_step(dtype: str, step: int) -> None:
    """One large value lends the others no room, and the whole range does not overflow."""
    limits = torch.iinfo(getattr(torch, dtype))
    here = torch.tensor([limits.max - 5, 7, limits.min], dtype=getattr(torch, dtype))
    checks = TensorChecks.of({"count": here}, {"count": "value"}, UpdateLimits())

    def refused(index: int, value: int) -> bool:
        sent = here.clone()
        sent[index] = value
        return checks.inspect({"count": sent}, {"count": "value"}) is not None

    assert not refused(1, 7 + step)
    assert refused(1, 8 + step)
    assert refused(2, limits.max)
    assert not refused(0, limits.min)


def test_a_byte_may_take_any_value() -> None:
    here = torch.zeros(3, dtype=torch.uint8)
    checks = TensorChecks.of({"flags": here}, {"flags": "value"}, UpdateLimits())
    assert checks.inspect({"flags": here + 255}, {"flags": "value"}) is None


def test_float64_values_whose_squares_overflow_are_refused_and_raise_nothing() -> None:
    model = {"weight": torch.ones(2, dtype=torch.float64)}
    checks = TensorChecks.of(model, KINDS, UpdateLimits())
    for value in (1.3e154, 1e200, 1.7e308):
        refusal = checks.inspect({"weight": torch.full((2,), value, dtype=torch.float64)}, KINDS)
        assert refusal is not None
        assert refusal.reason is Reason.TOO_LARGE


def test_a_sender_has_so_many_attempts_in_a_round_and_others_have_theirs() -> None:
    keeper = RateLimits()
    for number in range(MAX_ATTEMPTS):
        assert outside(keeper, MALLORY, number) is None
    refusal = outside(keeper, MALLORY, MAX_ATTEMPTS)
    assert refusal is not None
    assert refusal.reason is Reason.FLOOD
    assert outside(keeper, ALICE, 0) is None
    keeper.open_round(100.0)
    assert outside(keeper, MALLORY, MAX_ATTEMPTS) is None


def test_short_rounds_give_nobody_more_attempts_but_for_updates_that_count() -> None:
    """An attacker's own updates may close them."""
    keeper = RateLimits()
    keeper.open_round(100.0)
    for number in range(MAX_ATTEMPTS):
        keeper.open_round(100.0 + number / 100)
        assert outside(keeper, MALLORY, number) is None
    assert outside(keeper, MALLORY, 8) is not None
    for number in range(1000):
        assert outside(keeper, ALICE, number) is None
        keeper.folded(ALICE, header(number).whole.digest)
    keeper.open_round(100.0 + ATTEMPT_SECONDS)
    assert outside(keeper, MALLORY, 8) is None


def test_what_was_looked_at_and_refused_is_not_looked_at_again() -> None:
    """The same bytes from another sender are another matter."""
    keeper = RateLimits()
    refusal = Refusal(Reason.NON_FINITE, "in 'weight'")
    assert outside(keeper, MALLORY, 0) is None
    keeper.remember(MALLORY, header(0).whole.digest, refusal)
    assert outside(keeper, MALLORY, 0) is refusal
    assert outside(keeper, ALICE, 0) is None


def test_what_the_broker_hands_out_again_is_not_a_flood() -> None:
    keeper = RateLimits()
    most = MAX_COPIES * 3 + SPARE_CHUNKS
    for _ in range(10 * most):
        assert outside(keeper, MALLORY, 0, before=True) is None
    for _ in range(most - 1):
        assert outside(keeper, MALLORY, 0) is None
    assert outside(keeper, MALLORY, 0) is not None


def test_what_is_written_and_answered_about_a_sender_is_bounded_by_time_too() -> None:
    keeper = RateLimits()
    keeper.open_round(100.0)
    assert told(keeper, MALLORY, 1)
    keeper.open_round(100.0 + NOTE_SECONDS / 2)
    assert not told(keeper, MALLORY, 1)
    answers = sum(told(keeper, MALLORY, version) for version in range(1000))
    assert answers == MAX_ANSWERS - 1
    assert sum(noted(keeper, "mallory") for _ in range(1000)) == MAX_MALFORMED
    assert sum(keeper.may_tell(MALLORY) for _ in range(1000)) == MAX_NEWS
    assert told(keeper, ALICE, 1)
    keeper.open_round(100.0 + NOTE_SECONDS)
    assert told(keeper, MALLORY, 1)
    assert noted(keeper, "mallory")
    assert keeper.may_tell(MALLORY)


def test_ten_thousand_uploads_that_never_complete_take_the_room_of_two(tmp_path: Path) -> None:
    """A chunk's body must have its digest, so that each of these takes a file for a moment."""
    spool = Spool(tmp_path, LIMITS)
    body = bytes(1024)
    digest = blake3(body).digest()
    for number in range(10_000):
        spool.add("mallory", ChunkHeader(header(number).whole, 0, digest), body, now=float(number))
    assert len(list(tmp_path.iterdir())) == UNFINISHED_PER_SENDER
    spool.add("alice", ChunkHeader(header(0).whole, 0, digest), body, now=0.0)
    assert len(list(tmp_path.iterdir())) == UNFINISHED_PER_SENDER + 1


def test_a_whole_message_with_a_false_digest_leaves_no_file(tmp_path: Path) -> None:
    spool = Spool(tmp_path, LIMITS)
    body = bytes(1024)
    digest = blake3(body).digest()
    spool.add("mallory", ChunkHeader(header(7, count=2).whole, 0, digest), body, now=0.0)
    with pytest.raises(MalformedMessageError, match="digest of the whole"):
        spool.add("mallory", ChunkHeader(header(7, count=2).whole, 1, digest), body, now=0.0)
    assert list(tmp_path.iterdir()) == []

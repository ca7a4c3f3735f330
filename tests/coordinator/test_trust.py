"""What the coordinator believes of what arrives, before and after it opens it."""

import math
from hashlib import sha256
from pathlib import Path

import pytest
import torch

from coordinator.gatekeeper import MAX_ATTEMPTS, MAX_COPIES, MAX_MALFORMED, SPARE_CHUNKS, Gatekeeper
from coordinator.identity import Identity
from coordinator.inspection import Inspector
from coordinator.refusals import Reason
from coordinator.spool import UNFINISHED_PER_SENDER, Spool
from schemas.chunks import ChunkPlace, Labels, Whole
from schemas.errors import MalformedMessageError
from schemas.limits import Limits

KINDS = {"weight": "delta", "mean": "value", "count": "value"}
MODEL = {"weight": torch.ones(4), "mean": torch.zeros(4), "count": torch.tensor(3)}
LIMITS = Limits(max_bytes=1 << 20)
MALLORY = ("mallory", "mallory")


def place(number: int, index: int = 0, count: int = 3) -> ChunkPlace:
    labels = Labels(run="r", version=0, participant="mallory", examples=1)
    whole = Whole("Update", f"{number:064x}", count, 1024, 1024 * count, labels)
    return ChunkPlace(whole, index, bytes(32))


def inspected(**changed: torch.Tensor) -> Reason | None:
    refusal = Inspector.of(MODEL, KINDS, None).inspect(
        changed, {name: KINDS[name] for name in changed}
    )
    return refusal.reason if refusal else None


def test_a_name_is_believed_if_it_is_the_login() -> None:
    assert Identity().refusal("alice", "alice") is None


@pytest.mark.parametrize("login", [None, "", "mallory", "Alice"])
def test_another_login_or_none_at_all_is_refused(login: str | None) -> None:
    refusal = Identity().refusal(login, "alice")
    assert refusal is not None
    assert refusal.reason is Reason.WRONG_SENDER


def test_a_login_shared_on_purpose_may_speak_under_any_name() -> None:
    identity = Identity({"lab"})
    assert identity.refusal("lab", "alice") is None
    assert identity.refusal("mallory", "alice") is not None


@pytest.mark.parametrize("value", [1e30, -1e30, 1e4, float("nan"), float("inf")])
def test_no_setting_is_needed_to_refuse_what_would_ruin_a_model(value: float) -> None:
    expected = Reason.TOO_LARGE if math.isfinite(value) else Reason.NON_FINITE
    assert inspected(weight=torch.tensor([0.0, 0.0, 0.0, value])) is expected


def test_a_buffer_may_learn_the_variance_of_raw_pixels_but_not_1e30() -> None:
    assert inspected(mean=torch.full((4,), 5000.0)) is None
    assert inspected(mean=torch.full((4,), 1e30)) is Reason.TOO_LARGE


def test_a_count_of_batches_cannot_jump_to_the_end_of_its_range() -> None:
    assert inspected(count=torch.tensor(10_000)) is None
    assert inspected(count=torch.tensor(2**62)) is Reason.TOO_LARGE


def test_float64_values_whose_squares_overflow_are_refused_and_raise_nothing() -> None:
    model = {"weight": torch.ones(2, dtype=torch.float64)}
    inspector = Inspector.of(model, KINDS, None)
    for value in (1.3e154, 1e200, 1.7e308):
        refusal = inspector.inspect({"weight": torch.full((2,), value, dtype=torch.float64)}, KINDS)
        assert refusal is not None
        assert refusal.reason is Reason.TOO_LARGE


def test_a_sender_has_so_many_attempts_in_a_round_and_others_have_theirs() -> None:
    keeper = Gatekeeper()
    for number in range(MAX_ATTEMPTS):
        assert keeper.refusal(MALLORY, place(number), redelivered=False) is None
    refusal = keeper.refusal(MALLORY, place(MAX_ATTEMPTS), redelivered=False)
    assert refusal is not None
    assert refusal.reason is Reason.FLOOD
    assert keeper.refusal(("alice", "alice"), place(0), redelivered=False) is None
    keeper.open_round()
    assert keeper.refusal(MALLORY, place(MAX_ATTEMPTS), redelivered=False) is None


def test_what_the_broker_hands_out_again_is_not_a_flood() -> None:
    keeper = Gatekeeper()
    most = MAX_COPIES * 3 + SPARE_CHUNKS
    for _ in range(10 * most):
        assert keeper.refusal(MALLORY, place(0), redelivered=True) is None
    for _ in range(most - 1):
        assert keeper.refusal(MALLORY, place(0), redelivered=False) is None
    assert keeper.refusal(MALLORY, place(0), redelivered=False) is not None


def test_complaints_about_a_sender_are_bounded() -> None:
    keeper = Gatekeeper()
    assert sum(keeper.may_complain(MALLORY) for _ in range(1000)) == MAX_MALFORMED


def test_ten_thousand_uploads_that_never_complete_take_the_room_of_two(tmp_path: Path) -> None:
    """A chunk's body must have its digest, so that each of these takes a file for a moment."""
    spool = Spool(tmp_path, LIMITS)
    body = bytes(1024)
    digest = sha256(body).digest()
    for number in range(10_000):
        spool.add("mallory", ChunkPlace(place(number).whole, 0, digest), body, now=float(number))
    assert len(list(tmp_path.iterdir())) == UNFINISHED_PER_SENDER
    spool.add("alice", ChunkPlace(place(0).whole, 0, digest), body, now=0.0)
    assert len(list(tmp_path.iterdir())) == UNFINISHED_PER_SENDER + 1


def test_an_upload_nobody_goes_on_with_expires_by_age(tmp_path: Path) -> None:
    spool = Spool(tmp_path, LIMITS)
    body = bytes(1024)
    digest = sha256(body).digest()
    spool.add("mallory", ChunkPlace(place(0).whole, 0, digest), body, now=0.0)
    assert spool.expire(lambda _: False, now=9.0, max_age_seconds=10.0) == 0
    assert spool.expire(lambda _: False, now=11.0, max_age_seconds=10.0) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_whole_message_with_a_false_digest_leaves_no_file(tmp_path: Path) -> None:
    spool = Spool(tmp_path, LIMITS)
    body = bytes(1024)
    digest = sha256(body).digest()
    spool.add("mallory", ChunkPlace(place(7, count=2).whole, 0, digest), body, now=0.0)
    with pytest.raises(MalformedMessageError, match="digest of the whole"):
        spool.add("mallory", ChunkPlace(place(7, count=2).whole, 1, digest), body, now=0.0)
    assert list(tmp_path.iterdir()) == []

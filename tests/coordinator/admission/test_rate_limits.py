"""What an honest sender may do, however short the rounds are."""

from types import SimpleNamespace
from typing import Any

from fanfold.coordinator.admission.rate_limits import MAX_ATTEMPTS, MAX_LATE, RateLimits
from fanfold.coordinator.aggregation.refusals import Reason

ANN = ("ann", "ann")


def header(digest: str) -> Any:
    return SimpleNamespace(whole=SimpleNamespace(digest=digest, count=1))


def test_what_came_too_late_is_no_attempt() -> None:
    """Where sixteen fast ones each close rounds of 10 ms, most of their updates are too stale."""
    keeper = RateLimits()
    keeper.open_round(1000.0)
    for number in range(MAX_LATE):
        assert keeper.refusal(ANN, header(f"late {number}"), counted_before=False) is None
        keeper.late(ANN, f"late {number}")
    for number in range(MAX_ATTEMPTS):
        assert keeper.refusal(ANN, header(f"new {number}"), counted_before=False) is None
    refusal = keeper.refusal(ANN, header("one too many"), counted_before=False)
    assert refusal is not None
    assert refusal.reason is Reason.FLOOD


def test_lateness_without_end_is_a_flood() -> None:
    """Its ledger takes memory."""
    keeper = RateLimits()
    keeper.open_round(1000.0)
    for number in range(MAX_LATE + MAX_ATTEMPTS):
        assert keeper.refusal(ANN, header(f"late {number}"), counted_before=False) is None
        keeper.late(ANN, f"late {number}")
    assert keeper.refusal(ANN, header("one too many"), counted_before=False) is not None

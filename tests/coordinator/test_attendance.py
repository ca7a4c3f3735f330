"""Who says hello again and again keeps nobody else waiting."""

import pytest

from coordinator import attendance
from coordinator.attendance import QUIET_SECONDS, Attendance
from coordinator.gatekeeper import Gatekeeper
from coordinator.presence import Presence
from schemas.messages import Hello


def test_a_storm_of_hellos_is_answered_less_and_less_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each answer is three calls to the broker. After a quiet minute all is forgiven."""
    now = 1000.0
    monkeypatch.setattr(attendance.time, "monotonic", lambda: now)
    welcomed: list[float] = []
    present = Attendance(
        Presence(),
        gatekeeper=Gatekeeper(),
        say=lambda _event, _fields: None,
        welcome=lambda _: not welcomed.append(now),  # type: ignore[func-returns-value]  # None
    )
    hello = Hello(participant="mallory", instance="m")
    for _ in range(400):
        present.listen(hello, "mallory")
        now += 0.125
    assert welcomed == [
        1000.0 + after for after in (0, 0.5, 1.5, 3.5, 7.5, 15.5, 23.5, 31.5, 39.5, 47.5)
    ]
    now += QUIET_SECONDS + 8
    for _ in range(2):
        present.listen(hello, "mallory")
        now += 0.5
    assert welcomed[-2:] == [now - 1, now - 0.5]

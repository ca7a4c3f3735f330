"""Who says hello again and again keeps nobody else waiting."""

import pytest

from coordinator import attendance
from coordinator.attendance import OUT_OF_REACH_SECONDS, QUIET_SECONDS, Attendance
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


def test_those_on_a_node_that_is_down_keep_nobody_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """A question takes 20 s: a quarter of the time goes to questions, and rounds leave them out."""
    now = 1000.0
    monkeypatch.setattr(attendance.time, "monotonic", lambda: now)
    asked: list[float] = []
    is_down = True

    def welcome(_: str) -> bool:
        nonlocal now
        asked.append(now)
        now += 20.0 if is_down else 0.01
        return not is_down

    presence = Presence()
    names = {f"site-{number}" for number in range(100)}
    for name in names:
        presence.heard(name, now).instance = name
    present = Attendance(
        presence, gatekeeper=Gatekeeper(), say=lambda _event, _fields: None, welcome=welcome
    )

    def all_say_hello() -> None:
        nonlocal now
        for name in sorted(names):
            present.listen(Hello(participant=name, instance=name), name)
        now += 5.0

    began = now
    while now < began + 400:
        all_say_hello()
    assert len(asked) == 5
    assert not presence.names

    is_down = False
    while now < began + 400 + OUT_OF_REACH_SECONDS:
        all_say_hello()
    assert presence.names == names

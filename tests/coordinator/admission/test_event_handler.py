"""Who says hello again and again keeps nobody else waiting."""

from typing import Any

import pytest

from fanfold.coordinator.admission import event_handler
from fanfold.coordinator.admission.event_handler import (
    OUT_OF_REACH_SECONDS,
    QUIET_SECONDS,
    EventHandler,
)
from fanfold.coordinator.admission.rate_limits import RateLimits
from fanfold.coordinator.rounds.presence import Presence
from fanfold.schemas.messages import Goodbye, Hello


def test_a_storm_of_hellos_is_answered_less_and_less_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each answer is three calls to the broker. After a quiet minute all is forgiven."""
    now = 1000.0
    monkeypatch.setattr(event_handler.time, "monotonic", lambda: now)
    welcomed: list[float] = []
    present = EventHandler(
        Presence(),
        rate_limits=RateLimits(),
        say=lambda _event, _fields: None,
        is_known=lambda _: False,
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
    monkeypatch.setattr(event_handler.time, "monotonic", lambda: now)
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
    present = EventHandler(
        presence,
        rate_limits=RateLimits(),
        say=lambda _event, _fields: None,
        is_known=lambda _: False,
        welcome=welcome,
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


class Door:
    """An attendance whose questions to the broker are counted."""

    def __init__(
        self, *, max_participants: int = 10_000, known: frozenset[str] = frozenset()
    ) -> None:
        self.presence = Presence()
        self.asked: list[str] = []
        self.said: list[tuple[str, dict[str, Any]]] = []
        self.is_in_reach = True
        self.event_handler = EventHandler(
            self.presence,
            rate_limits=RateLimits(max_participants=max_participants),
            say=lambda event, fields: self.said.append((event, fields)),
            is_known=known.__contains__,
            welcome=self._welcome,
        )

    def hello(self, participant: str, *, consuming: bool = False, login: str = "lab") -> None:
        hello = Hello(participant=participant, instance=participant, consuming=consuming)
        self.event_handler.listen(hello, login)

    def _welcome(self, participant: str) -> bool:
        self.asked.append(participant)
        return self.is_in_reach


def test_who_consumes_its_queue_needs_no_call_to_the_broker() -> None:
    """Hundreds say hello at once when a connection comes back: their queues were seen to before.

    Where this coordinator never saw to one, a binding may be gone: then it is seen to once.
    """
    door = Door(known=frozenset({"ann"}))
    door.hello("ann", consuming=True)
    door.hello("bob", consuming=True)
    assert door.asked == ["bob"]
    assert door.presence.names == {"ann", "bob"}


def test_a_hello_while_a_node_is_down_removes_nobody_who_hears(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Another's queue lies there; who has none to read is left out, who consumes one is not."""
    now = 1000.0
    monkeypatch.setattr(event_handler.time, "monotonic", lambda: now)
    door = Door()
    for name in ("ann", "bob", "cid"):
        door.hello(name, consuming=True)
    now += QUIET_SECONDS + 1
    door.is_in_reach = False
    door.event_handler._next_question = now + 10
    door.hello("ann", consuming=True)
    door.hello("bob")
    assert door.presence.names == {"ann", "cid"}


def test_one_login_brings_in_so_many_participants_and_no_more() -> None:
    """Each has a queue of its own on the broker, and is sent the version."""
    door = Door(max_participants=3)
    for number in range(50):
        door.hello(f"p{number}")
    assert door.presence.names == {"p0", "p1", "p2"}
    assert door.asked == ["p0", "p1", "p2"]
    (first, *_) = [fields for event, fields in door.said if event == "participant_refused"]
    assert "--max-participants allows more" in first["reason"]
    door.hello("other", login="elsewhere")
    door.event_handler.listen(Goodbye(participant="p0", instance="p0"), "lab")
    door.hello("p0")
    assert door.presence.names == {"p0", "p1", "p2", "other"}

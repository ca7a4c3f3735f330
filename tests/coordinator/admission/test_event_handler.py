"""Who says hello again and again keeps nobody else waiting."""

from collections.abc import Callable
from typing import Any

from named_events import named

from fanfold.coordinator.admission.event_handler import EventHandler
from fanfold.coordinator.admission.rate_limits import RateLimits
from fanfold.coordinator.admission.sender_check import SenderCheck
from fanfold.coordinator.admission.tally import Tally
from fanfold.coordinator.admission.welcoming import (
    OUT_OF_REACH_SECONDS,
    OUT_OF_REACH_SHARE,
    QUIET_SECONDS,
    Welcoming,
)
from fanfold.coordinator.observer import Unobserved
from fanfold.coordinator.rounds.presence import Presence
from fanfold.schemas.messages import Goodbye, Hello

NOBODY: Any = None


class Door:
    """An event handler on a clock of its own, whose questions to the broker are counted.

    It stands in for the queues of participants.
    """

    def __init__(
        self, *, max_participants: int = 10_000, known: frozenset[str] = frozenset()
    ) -> None:
        self.now = 1000.0
        self.presence = Presence()
        self.asked: list[tuple[str, float]] = []
        self.said: list[tuple[str, dict[str, Any]]] = []
        self.is_in_reach = True
        self.question_seconds = 0.0
        self.is_known: Callable[[str], bool] = known.__contains__
        queues: Any = self
        self.event_handler = EventHandler(
            NOBODY,
            tally=Tally(Unobserved()),
            sender_check=SenderCheck(),
            presence=self.presence,
            rate_limits=RateLimits(max_participants=max_participants),
            welcoming=Welcoming(queues, publisher=NOBODY, clock=lambda: self.now),
            rejections=NOBODY,
            say=lambda event: self.said.append(named(event)),
        )

    def hello(self, participant: str, *, consuming: bool = False, login: str = "lab") -> None:
        hello = Hello(participant=participant, instance=participant, consuming=consuming)
        self.event_handler.listen(hello, login, self.now)

    def welcome(self, participant: str) -> bool:
        self.asked.append((participant, self.now))
        self.now += self.question_seconds
        return self.is_in_reach

    def replace_lost(self, participant: str, *, held: int | None) -> None:
        """Nothing was lost."""


def test_a_storm_of_hellos_is_answered_less_and_less_often() -> None:
    """Each answer is three calls to the broker. After a quiet minute all is forgiven."""
    door = Door()
    for _ in range(400):
        door.hello("mallory")
        door.now += 0.125
    assert [at - 1000.0 for _, at in door.asked] == [
        *(0, 0.5, 1.5, 3.5, 7.5, 15.5, 23.5, 31.5, 39.5, 47.5)
    ]
    door.now += QUIET_SECONDS + 8
    for _ in range(2):
        door.hello("mallory")
        door.now += 0.5
    assert [at for _, at in door.asked[-2:]] == [door.now - 1, door.now - 0.5]


def test_those_on_a_node_that_is_down_keep_nobody_waiting() -> None:
    """A question takes 20 s: a quarter of the time goes to questions, and rounds leave them out."""
    door = Door()
    door.is_in_reach, door.question_seconds = False, 20.0
    names = {f"site-{number:02}" for number in range(100)}
    for name in names:
        door.presence.heard(name, door.now).instance = name

    def all_say_hello() -> None:
        for name in sorted(names):
            door.hello(name)
        door.now += 5.0

    began = door.now
    while door.now < began + 400:
        all_say_hello()
    assert len(door.asked) == 5
    assert not door.presence.names

    door.is_in_reach, door.question_seconds = True, 0.01
    while door.now < began + 400 + OUT_OF_REACH_SECONDS:
        all_say_hello()
    assert door.presence.names == names


def test_who_consumes_its_queue_needs_no_call_to_the_broker() -> None:
    """Hundreds say hello at once when a connection comes back: their queues were seen to before.

    Where this coordinator never saw to one, a binding may be gone: then it is seen to once.
    """
    door = Door(known=frozenset({"ann"}))
    door.hello("ann", consuming=True)
    door.hello("bob", consuming=True)
    assert [name for name, _ in door.asked] == ["bob"]
    assert door.presence.names == {"ann", "bob"}


def test_a_hello_while_a_node_is_down_removes_nobody_who_hears() -> None:
    """Another's queue lies there; who has none to read is left out, who consumes one is not."""
    door = Door()
    for name in ("ann", "bob", "cid"):
        door.hello(name, consuming=True)
    door.now += QUIET_SECONDS + 1
    door.is_in_reach, door.question_seconds = False, 20.0
    door.hello("dan")
    door.now += 20.0 * OUT_OF_REACH_SHARE - 1
    door.hello("ann", consuming=True)
    door.hello("bob")
    assert door.presence.names == {"ann", "cid"}
    assert [name for name, _ in door.asked][-1] == "dan"


def test_one_login_brings_in_so_many_participants_and_no_more() -> None:
    """Each has a queue of its own on the broker, and is sent the version."""
    door = Door(max_participants=3)
    for number in range(50):
        door.hello(f"p{number}")
    assert door.presence.names == {"p0", "p1", "p2"}
    assert [name for name, _ in door.asked] == ["p0", "p1", "p2"]
    (first, *_) = [fields for event, fields in door.said if event == "participant_refused"]
    assert "--max-participants allows more" in first["reason"]
    door.hello("other", login="elsewhere")
    door.event_handler.listen(Goodbye(participant="p0", instance="p0"), "lab", door.now)
    door.hello("p0")
    assert door.presence.names == {"p0", "p1", "p2", "other"}

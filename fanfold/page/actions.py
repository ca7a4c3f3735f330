"""What an operator can do to a run from its page."""

from dataclasses import dataclass
from typing import Literal, Protocol, get_args

from fanfold.page.queues import Queues

Action = Literal["pause", "go-on", "close-round", "stop"]
ACTIONS: tuple[Action, ...] = get_args(Action)
SHOWN: dict[str, tuple[Action, ...]] = {
    "queued": ("pause", "stop"),
    "open": ("pause", "close-round", "stop"),
    "paused": ("go-on", "stop"),
    "failed": ("go-on", "stop"),
}
"""By the state of a run in the registry: what can be done to it."""


@dataclass(frozen=True, slots=True)
class Button:
    """A button of a run's page."""

    action: Action
    label: str
    question: str = ""
    """What is asked before it is done; empty where nothing is."""


BUTTONS: dict[Action, Button] = {
    "pause": Button("pause", "Pause"),
    "go-on": Button("go-on", "Go on"),
    "close-round": Button("close-round", "Close the round"),
    "stop": Button("stop", "Stop", "The run ends with the version it has. It cannot go on."),
}
DONE: dict[Action, str] = {
    "pause": "{run} pauses: its version is kept",
    "go-on": "{run} goes on as soon as it is its turn",
    "close-round": "{run} closes its round with the updates that it has",
    "stop": "{run} is being stopped",
}


class Operations(Protocol):
    """Who does what an operator asks; called from any thread."""

    def do(self, run: str, action: Action, *, who: str) -> None:
        """Do it.

        Raises:
            InvalidInputError: if that is refused, in words.
        """

    def queues(self, run: str) -> Queues | None:
        """Return what of a run lies at the broker, at once; None where it is not known (yet)."""

    def revoke(self, participant: str, *, who: str) -> None:
        """Take a participant's rights at the broker away.

        Raises:
            InvalidInputError: if that is not possible from here, in words.
        """

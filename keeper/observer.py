"""What a keeper lets others see of its work."""

from collections.abc import Callable
from typing import Protocol


class Observer(Protocol):
    """Sees what is answered."""

    def attach(self, *, is_ready: Callable[[], bool]) -> None:
        """Learn how to ask whether the keeper is connected and subscribed."""

    def answered(self, kind: str, seconds: float) -> None:
        """Take note of an answer of this kind, and how long it took to make."""


class Unobserved:
    """Looks away."""

    def attach(self, *, is_ready: Callable[[], bool]) -> None:
        """Do nothing."""

    def answered(self, kind: str, seconds: float) -> None:
        """Do nothing."""

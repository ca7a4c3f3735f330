"""What an experiment tracker has to do for us."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class TrackedRun:
    """A run as it begins or goes on.

    `goes_on` is a run that an earlier process may have begun to track: its points follow there.
    """

    run: str
    settings: Mapping[str, Any]
    goes_on: bool


class Sink(Protocol):
    """One experiment tracker. All methods are called in one thread, and may take long."""

    def begin(self, run: TrackedRun) -> None:
        """Begin a run, or go on with it, after the one before has ended."""

    def add(self, round_number: int, scalars: Mapping[str, float]) -> None:
        """Add one point to each curve."""

    def end(self, summary: Mapping[str, Any]) -> None:
        """End the run, which is finished, with what came out of it."""

    def close(self) -> None:
        """End the run if it has not ended: it was stopped. Nothing follows."""

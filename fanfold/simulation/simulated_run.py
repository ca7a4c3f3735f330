"""What the events of a simulation need of the run that they move."""

from collections.abc import Collection
from typing import Protocol


class SimulatedRun(Protocol):
    """The run and its trainings. Participants are named by their index, versions by number."""

    @property
    def version(self) -> int:
        """The current version."""
        ...

    @property
    def is_over(self) -> bool:
        """Whether the run ended with the round that was closed last."""
        ...

    def publish(self, receivers: Collection[int]) -> None:
        """Publish the current version to these participants, because a round opens."""

    def send(self, participant: int) -> None:
        """Send the current version to one that answered an older one meanwhile."""

    def resend(self, num_receivers: int) -> None:
        """Send the current version to more participants, whole."""

    def hold(self, version: int) -> None:
        """Note that one more participant will need this version."""

    def let_go(self, version: int) -> None:
        """Note that a participant no longer needs this version."""

    def training_seconds(self, participant: int) -> float:
        """Return how long a training takes the median participant."""
        ...

    def sending_seconds(self, participant: int) -> float:
        """Return how long a version is on its way to a participant, and its update back."""
        ...

    def answer(self, participant: int, base_version: int) -> int | None:
        """Train and fold; return the staleness of the update, or None if it was refused."""
        ...

    def close_round(self, now: float, seconds: float) -> None:
        """Turn version r-1 into version r."""

"""Who was left out of rounds, because its updates were refused."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class LeftOut:
    """Counts over a whole run; belongs to the coordinator's work thread."""

    rounds: Counter[str] = field(default_factory=Counter)
    """In how many rounds, by participant."""
    reasons: dict[str, str] = field(default_factory=dict)
    """Why the last time, by participant."""

    def count(self, refused: Mapping[str, str]) -> None:
        """Take note of those whom a round left out, and why."""
        self.rounds.update(refused.keys())
        self.reasons.update(refused)

    def state(self) -> dict[str, Any]:
        """Return everything for the checkpoint."""
        return {"rounds": dict(self.rounds), "reasons": dict(self.reasons)}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take back what `state` returned."""
        self.rounds, self.reasons = Counter(state["rounds"]), dict(state["reasons"])

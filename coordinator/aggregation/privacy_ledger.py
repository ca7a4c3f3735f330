"""How often something of each participant became known to those whom a private run guards against.

Where the coordinator adds the noise, that is each time an update goes into a sum, for every sum has
a noise of its own. Where participants do, it is each update that came, whether it was counted or
refused; the same one, sent again, carries the same noise and tells nothing new.
"""

from collections import Counter, deque
from collections.abc import Mapping
from typing import Any

RECENT = 16
"""So many updates of each participant are recognised when they come again."""


class PrivacyLedger:
    """Counts by participant. A count may be too high, never too low."""

    def __init__(self, *, on_arrival: bool) -> None:
        """Begin with nothing; `on_arrival` where the noise is the participants' own."""
        self._on_arrival = on_arrival
        self._recent: dict[str, deque[str]] = {}
        self.counts: Counter[str] = Counter()

    def arrived(self, participant: str, digest: str) -> bool:
        """Take note of an update that came, whatever becomes of it; True if it is a new one."""
        is_new = self._on_arrival and not self.knows(participant, digest)
        if is_new:
            self._recent.setdefault(participant, deque(maxlen=RECENT)).append(digest)
            self.counts[participant] += 1
        return is_new

    def folded(self, participant: str) -> None:
        """Take note of an update that went into a sum."""
        if not self._on_arrival:
            self.counts[participant] += 1

    def lost(self, participant: str, digest: str) -> None:
        """Take note of an update that a damaged checkpoint counted: its version may be known."""
        self.folded(participant)
        self.arrived(participant, digest)

    def knows(self, participant: str, digest: str) -> bool:
        """Whether this very update was counted when it came."""
        return digest in self._recent.get(participant, ())

    def state(self) -> dict[str, Any]:
        """Return everything for the checkpoint."""
        recent = {participant: list(digests) for participant, digests in self._recent.items()}
        return {"counts": dict(self.counts), "recent": recent}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take back what `state` returned."""
        self.counts = Counter(state.get("counts", {}))
        self._recent = {
            participant: deque(digests, maxlen=RECENT)
            for participant, digests in state.get("recent", {}).items()
        }

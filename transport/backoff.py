"""The pause before something that failed is tried again."""

from dataclasses import dataclass

_MOST_DOUBLINGS = 30
"""More would overflow; no longest pause is a billion times the first."""


@dataclass(frozen=True, slots=True)
class Backoff:
    """Pauses that double with every failure in a row.

    Attributes:
        first_seconds: after the first failure.
        longest_seconds: no pause is longer.
    """

    first_seconds: float
    longest_seconds: float

    def seconds(self, failures: int, draw: float = 1.0) -> float:
        """Return the pause after so many failures in a row.

        Args:
            failures: at least 1.
            draw: from 0 to 1; spreads the pause over its upper half, so that a thousand
                participants do not reconnect in the same instant.

        Example:
            >>> [Backoff(0.5, 8.0).seconds(failures) for failures in (1, 2, 3, 9)]
            [0.5, 1.0, 2.0, 8.0]
        """
        doubled = self.first_seconds * 2.0 ** min(failures - 1, _MOST_DOUBLINGS)
        return min(doubled, self.longest_seconds) * (0.5 + 0.5 * draw)

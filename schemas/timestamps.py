"""Times of day as people and programs read them: UTC, ISO 8601, to the millisecond."""

from collections.abc import Callable
from datetime import UTC, datetime

Clock = Callable[[], datetime]
"""Tells what time it is, with its time zone. Durations and deadlines take a monotonic clock."""


def iso_utc(time: datetime) -> str:
    """Return a time as text.

    >>> iso_utc(datetime(2026, 3, 1, 12, 30, tzinfo=UTC))
    '2026-03-01T12:30:00.000Z'
    """
    return time.astimezone(UTC).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"

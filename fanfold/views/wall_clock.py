"""The clock that puts the time on what people and programs are told; nothing is decided by it."""

from datetime import UTC, datetime


def utc_now() -> datetime:
    """Return the time of this machine's clock."""
    return datetime.now(UTC)

"""What queues are declared with, and what ours may have been declared with before."""

from collections.abc import Iterator

LEAST_ROOM_BYTES, LARGEST_ROOM_BYTES = 1 << 6, 1 << 36
ROOM_WITHOUT_VERSION_BYTES = 16 << 10
"""Of a participant's queue where no version is known yet: room for small messages, OpenRuns too."""
UNUSED_QUEUE_SECONDS = 14 * 24 * 3600
EVENTS_LENGTH = 100_000
DEAD_LETTERS_BYTES = 1 << 30
DEAD_LETTERS_SECONDS = 7 * 24 * 3600

EVENTS: dict[str, object] = {"x-max-length": EVENTS_LENGTH, "x-overflow": "drop-head"}
REQUESTS_LENGTH, MASKS_LENGTH = 1_000, 100_000
REQUESTS: dict[str, object] = {"x-max-length": REQUESTS_LENGTH, "x-overflow": "drop-head"}
"""To a keeper: older ones are asked again."""
MASKS: dict[str, object] = {"x-max-length": MASKS_LENGTH, "x-overflow": "drop-head"}
DEAD_LETTERS: dict[str, object] = {
    "x-max-length-bytes": DEAD_LETTERS_BYTES,
    "x-message-ttl": DEAD_LETTERS_SECONDS * 1000,
    "x-overflow": "drop-head",
}
ONE_MESSAGE: dict[str, object] = {"x-max-length": 1, "x-overflow": "drop-head"}


def rooms() -> Iterator[int]:
    """Yield every size in bytes that a participant's queue of ours can have, in order."""
    room = LEAST_ROOM_BYTES
    while room <= LARGEST_ROOM_BYTES:
        yield room
        yield room + room // 2
        room *= 2


def room_for(version_bytes: int) -> int:
    """Return the size in bytes of a participant's queue: for a version, and never for two.

    A queue holds the newest version whole, drops older ones from the head, and has room for small
    messages beside it. Two of a version would pile up, and who comes back would train both.
    There are few sizes, so that a queue of another version is known by its size for one of ours:
    the broker tells nobody what a queue was declared with.

    Example:
        >>> room_for(1_000_000)
        1572864
    """
    fitting = [room for room in rooms() if room < 2 * version_bytes]
    return fitting[-1] if fitting else ROOM_WITHOUT_VERSION_BYTES


def participant_queue_arguments(
    *, version_bytes: int = 0, room_bytes: int | None = None
) -> dict[str, object]:
    """Return what a participant's queue is declared with, besides its type.

    Args:
        version_bytes: of the version that it is to hold; 0 where none is known yet.
        room_bytes: instead, one of `rooms`.
    """
    return {
        "x-max-length-bytes": room_for(version_bytes) if room_bytes is None else room_bytes,
        "x-overflow": "drop-head",
        "x-expires": UNUSED_QUEUE_SECONDS * 1000,
    }

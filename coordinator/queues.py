"""What queues are declared with, and when one that is there already does not do."""

import re

ROOM_FOR_VERSIONS = 1.3
"""A participant's queue holds the newest version whole, and drops older ones from the head."""
SMALL_MESSAGES_BYTES = 2 << 10
"""Room for what else a participant is told, at most."""
ROOM_FOR_SMALL_MESSAGES = 0.6
"""The same in versions, of a tiny model: all in all it must stay below two of them.

Else versions would pile up, and who comes back or was busy would train all of them in vain.
"""
UNUSED_QUEUE_SECONDS = 14 * 24 * 3600
EVENTS_LENGTH = 100_000
DEAD_LETTERS_BYTES = 1 << 30
DEAD_LETTERS_SECONDS = 7 * 24 * 3600

EVENTS: dict[str, object] = {"x-max-length": EVENTS_LENGTH, "x-overflow": "drop-head"}
DEAD_LETTERS: dict[str, object] = {
    "x-max-length-bytes": DEAD_LETTERS_BYTES,
    "x-message-ttl": DEAD_LETTERS_SECONDS * 1000,
    "x-overflow": "drop-head",
}


def participant_queue_arguments(version_bytes: int) -> dict[str, object]:
    """Return what a participant's queue is declared with, besides its type.

    Where no version is known yet, 0, there is room for small messages alone.
    """
    small = int(ROOM_FOR_SMALL_MESSAGES * version_bytes) or SMALL_MESSAGES_BYTES
    return {
        "x-max-length-bytes": int(ROOM_FOR_VERSIONS * version_bytes)
        + min(small, SMALL_MESSAGES_BYTES),
        "x-overflow": "drop-head",
        "x-expires": UNUSED_QUEUE_SECONDS * 1000,
    }


def holds_one_version(refusal: str, version_bytes: int) -> bool:
    """Whether a queue holds a version and no second one, by the broker's words on its arguments.

    One without a limit of its own was declared by an operator, who knows better.
    """
    limit = re.search(r"'x-max-length-bytes'.*current is (?:the value )?'(\d+)'", refusal)
    return limit is None or version_bytes <= int(limit[1]) < 2 * version_bytes

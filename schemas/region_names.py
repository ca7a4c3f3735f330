"""What regions are called, where people read of them."""

_TASK = "region "


def region_of(participants: int) -> str:
    """Return what a region is, where others have a device."""
    return f"region of {participants} participant{'' if participants == 1 else 's'}"


def task_of(region: str, federation: str) -> str:
    """Return what stands in a region's own history in the place of a task; no task has spaces.

    Args:
        region: its id.
        federation: in which it takes part.
    """
    return f"{_TASK}{region} of {federation}"


def is_of_a_region(task: str) -> bool:
    """Return whether a history with this task is a region's own."""
    return task.startswith(_TASK)

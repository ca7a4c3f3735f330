"""Events as tests compare them: by name, with their fields."""

from typing import Any

from fanfold.schemas.events.event import Event


def named(event: Event) -> tuple[str, dict[str, Any]]:
    """Return an event's name and all its fields."""
    fields = event.document(whole=True)
    return fields.pop("event"), fields

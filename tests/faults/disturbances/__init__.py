"""What is done to a federation beside killing its parts, kind by kind."""

from disturbances import books, connections, disks, node, objects, processes, uploads
from disturbances.kind import Kind

KINDS: tuple[Kind, ...] = (
    *processes.KINDS,
    *connections.KINDS,
    *objects.KINDS,
    *node.KINDS,
    *disks.KINDS,
    *books.KINDS,
    *uploads.KINDS,
)

__all__ = ["KINDS", "Kind"]

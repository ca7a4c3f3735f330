"""What is done to a federation beside killing its parts, kind by kind."""

from disturbances import connections, disks, node, objects, processes, run_files, uploads
from disturbances.kind import Kind

KINDS: tuple[Kind, ...] = (
    *processes.KINDS,
    *connections.KINDS,
    *objects.KINDS,
    *node.KINDS,
    *disks.KINDS,
    *run_files.KINDS,
    *uploads.KINDS,
)

__all__ = ["KINDS", "Kind"]

"""What a process takes of the machine's memory, as the kernel counts it (Linux)."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

KIB = 1024


@dataclass(slots=True)
class Peaks:
    """Memory of one process in bytes.

    RSS counts the pages of files that are mapped and happen to be in the page cache; those the
    kernel takes back whenever it wants to. `anonymous` counts what only this process can give back.
    """

    pid: int = 0
    peak: int = 0
    """Largest RSS of the process's life, mapped files included."""
    peak_anonymous: int = 0
    """Largest anonymous memory seen whenever it was looked at."""

    @classmethod
    def of(cls, pid: int) -> Self:
        """Begin to watch a process."""
        now = status(pid)
        return cls(pid, now["VmHWM"], now["RssAnon"])

    def look(self) -> None:
        """Look again; a process that is gone keeps its last values."""
        now = status(self.pid)
        self.peak = max(self.peak, now.get("VmHWM", 0))
        self.peak_anonymous = max(self.peak_anonymous, now.get("RssAnon", 0))


def brokers_peak() -> int:
    """Return the peak RSS of the largest Erlang machine here, in bytes; 0 if the broker is away."""
    machines = (
        int(entry.parent.name)
        for entry in Path("/proc").glob("[0-9]*/comm")
        if entry.read_text().strip() == "beam.smp"
    )
    return max((status(pid).get("VmHWM", 0) for pid in machines), default=0)


def status(pid: int) -> dict[str, int]:
    """Return the sizes in /proc/PID/status in bytes; empty if the process is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return {}
    sizes = (line.split() for line in lines if line.endswith(" kB"))
    return {name.rstrip(":"): int(size) * KIB for name, size, _ in sizes}

"""Memory, processor time and open files of a process, as the kernel counts them (Linux)."""

import os
import resource
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Self

KIB = 1024


@dataclass(slots=True)
class Peaks:
    """Memory of one process in bytes.

    RSS includes mapped files as far as they are in the page cache, which the kernel can reclaim at
    any time. `anonymous` is memory that only the process can free.
    """

    pid: int = 0
    peak: int = 0
    """Largest RSS since the process started, mapped files included."""
    peak_anonymous: int = 0
    """Largest anonymous memory among all calls of `look`."""

    @classmethod
    def of(cls, pid: int) -> Self:
        """Return the peaks of a process as they are now."""
        now = status(pid)
        return cls(pid, now["VmHWM"], now["RssAnon"])

    def look(self) -> None:
        """Read the values again; for a process that has ended, the last ones stay."""
        now = status(self.pid)
        self.peak = max(self.peak, now.get("VmHWM", 0))
        self.peak_anonymous = max(self.peak_anonymous, now.get("RssAnon", 0))


def brokers_peak() -> int:
    """Return the peak RSS of the largest Erlang process here, in bytes; 0 if there is none."""
    machines = (
        int(entry.parent.name)
        for entry in Path("/proc").glob("[0-9]*/comm")
        if entry.read_text().strip() == "beam.smp"
    )
    return max((status(pid).get("VmHWM", 0) for pid in machines), default=0)


def allow_open_files(number: int) -> None:
    """Let this process and those that it starts open so many files, or end it with a sentence.

    A login on Linux often allows 1,024, and lets everybody raise it up to a limit of its own.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if 0 <= soft < number:
        if 0 <= hard < number:
            sys.exit(f"this takes {number} open files, and {hard} are allowed here (ulimit -Hn)")
        resource.setrlimit(resource.RLIMIT_NOFILE, (number, hard))


def processor_seconds(pid: int) -> float:
    """Return the processor time that a process took so far; 0 if it has ended.

    A busy machine changes it little, where seconds say most about what else runs.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    user, system = fields[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def status(pid: int) -> dict[str, int]:
    """Return the sizes in /proc/PID/status in bytes; empty if the process has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return {}
    sizes = (line.split() for line in lines if line.endswith(" kB"))
    return {name.rstrip(":"): int(size) * KIB for name, size, _ in sizes}

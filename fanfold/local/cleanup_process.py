"""Ends child processes, and removes their files, when their parent has ended in any way."""

import subprocess
from pathlib import Path

# The last line on its standard input names process groups. When that input is closed, which happens
# however this process ends, it kills them and then ends itself. A shell, because it is small and on
# every machine.
_SCRIPT = """
folder=$1
while read -r line; do groups=$line; done
for group in $groups; do kill -s KILL -- "-$group" 2>/dev/null; done
[ -n "$folder" ] || exit 0
for attempt in 1 2 3 4 5; do rm -rf -- "$folder" 2>/dev/null && exit 0; sleep 0.2; done
"""


class CleanupProcess:
    """A process that kills what it watches, and removes a folder, as soon as this one has ended."""

    def __init__(self, *, remove: Path | None) -> None:
        """Start it; `remove` is the folder to remove as well."""
        self._process = subprocess.Popen(  # our own constant script
            ["/bin/sh", "-c", _SCRIPT, "fanfold-cleanup", str(remove or "")],
            stdin=subprocess.PIPE,
            text=True,
            start_new_session=True,  # a Ctrl-C in the terminal must not reach it
        )

    def watch(self, *leaders: subprocess.Popen[bytes]) -> None:
        """Watch these processes and their process groups, instead of the former ones."""
        if self._process.stdin:
            self._process.stdin.write(" ".join(str(leader.pid) for leader in leaders) + "\n")
            self._process.stdin.flush()

    def release(self) -> None:
        """Let it kill and remove now, and wait until it has. A second call does nothing."""
        if self._process.stdin and not self._process.stdin.closed:
            self._process.stdin.close()
        self._process.wait()

"""Disks that are full, or take no writes, for a while."""

import shutil
import subprocess
import time
from contextlib import suppress
from pathlib import Path

DISK_BYTES = 16 << 20
"""Ten times what anybody here keeps."""
PATIENCE_SECONDS = 20.0


class Disk:
    """A small disk of its own, in memory; a plain folder where we may not mount one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True)
        self.is_mounted = _mount("-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(folder))
        """Whether it can be filled and made read-only."""
        self._filler = folder / "filler"

    def fill(self) -> None:
        """Leave no byte free."""
        with suppress(OSError), self._filler.open("ab", buffering=0) as file:
            while file.write(bytes(4096)):
                pass

    def free(self) -> None:
        """Give the room back."""
        self._filler.unlink(missing_ok=True)

    def protect(self) -> None:
        """Let nobody create, replace or open a file for writing; what is open stays open."""
        assert _mount("--bind", str(self.folder), str(self.folder)), "no second way to the disk"
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not _mount("-o", "remount,ro,bind", str(self.folder)):  # somebody is writing just now
            if time.monotonic() > deadline:
                self.release()
                raise TimeoutError(f"{self.folder} is written to without a pause")
            time.sleep(0.01)

    def release(self) -> None:
        """Undo `protect`."""
        _unmount(self.folder)

    def close(self) -> None:
        """Give the disk back; what was on it lies in a plain folder afterwards."""
        if self.is_mounted:
            aside = self.folder.with_name(f"{self.folder.name}-kept")
            shutil.copytree(self.folder, aside)
            _unmount(self.folder)
            self.folder.rmdir()
            aside.rename(self.folder)


def _mount(*arguments: str) -> bool:
    return _run("mount", *arguments)


def _unmount(folder: Path) -> None:
    assert _run("umount", "--lazy", str(folder)), f"{folder} is not mounted any more"


def _run(*command: str) -> bool:
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:  # not every system has such a thing
        return False

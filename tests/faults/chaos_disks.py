"""Disks that are full or read-only for a while."""

import shutil
import subprocess
from contextlib import suppress
from pathlib import Path

DISK_BYTES = 16 << 20
"""Ten times what any service here keeps."""


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
        """Free the space again."""
        self._filler.unlink(missing_ok=True)

    def protect(self) -> None:
        """Make the disk read-only for new files; files that are open for writing stay so."""
        aside = self.folder.with_name(f"{self.folder.name}-read-only")
        aside.mkdir()
        try:
            # A second mount, made read-only, is put over the one that is written to.
            assert _mount("--bind", str(self.folder), str(aside)), "no second way to the disk"
            assert _mount("-o", "remount,ro,bind", str(aside)), "the disk stays writable"
            assert _mount("--bind", str(aside), str(self.folder)), "nobody goes the second way"
        finally:
            _run("umount", "--lazy", str(aside))
            aside.rmdir()

    def release(self) -> None:
        """Undo `protect`."""
        _unmount(self.folder)

    def close(self) -> None:
        """Unmount the disk; its content is in a plain folder afterwards."""
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

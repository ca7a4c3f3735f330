"""The runs below a folder, each opened when somebody asks for it."""

import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from fanfold.coordinator.persistence.history import HISTORY
from fanfold.page.answers import state_of
from fanfold.page.queues import Queues
from fanfold.page.screen import Screen
from fanfold.page.watched_run import WatchedRun
from fanfold.registry.registry import RECORD
from fanfold.report.charts import number

MOST_RUNS = 500
"""That are listed, the newest ones."""


@dataclass(frozen=True, slots=True)
class Listed:
    """A run in one line."""

    name: str
    state: str
    rounds: str
    metric: str
    task: str
    begun: str


class Catalogue:
    """Runs by name: the folders that hold a history, below one that is given. Any thread may ask.

    The folder itself is called by its own name, those below it by their way from there.
    """

    def __init__(
        self, folder: Path, queues: Callable[[str], Queues | None] = lambda _run: None
    ) -> None:
        """Open nothing yet; the folder may come to be later.

        `queues` tells what of a run lies at the broker, where somebody knows.
        """
        self.folder = folder
        self._queues = queues
        self._screens: dict[str, Screen] = {}
        self._lock = threading.Lock()

    def names(self) -> list[str]:
        """Return the names of all runs, the one last written first."""
        written: dict[str, float] = {}
        for path in self._paths():
            with suppress(FileNotFoundError):  # removed just now
                name, at = self._name(path.parent), path.stat().st_mtime
                written[name] = max(at, written.get(name, 0.0))
        return sorted(written, key=lambda name: -written[name])[:MOST_RUNS]

    def screen(self, name: str) -> Screen | None:
        """Return the screen of a run; None if there is no such run."""
        with self._lock:
            if name in self._screens and not self._screens[name].run.folder.is_dir():
                del self._screens[name]
            if name not in self._screens:
                folder = self._folder(name)
                if folder is None:
                    return None
                self._screens[name] = Screen(
                    WatchedRun(name, folder), queues=lambda: self._queues(name)
                )
            return self._screens[name]

    def listed(self) -> list[Listed]:
        """Return a line for each run.

        Raises:
            OSError: if a history cannot be read.
        """
        screens = [self.screen(name) for name in self.names()]
        return [_line(screen) for screen in screens if screen is not None]

    def _name(self, folder: Path) -> str:
        if folder == self.folder:
            return folder.resolve().name or "run"
        return folder.relative_to(self.folder).as_posix()

    def _paths(self) -> Iterator[Path]:
        """Yield a file of each run: its history, or its record in a registry, or both."""
        yield from self.folder.rglob(HISTORY)
        yield from self.folder.rglob(RECORD)

    def _folder(self, name: str) -> Path | None:
        """Return the folder of a run: only what is listed is opened, whatever somebody asks for."""
        found = (path.parent for path in self._paths())
        return next((each for each in found if self._name(each) == name), None)


def _line(screen: Screen) -> Listed:
    look = screen.look()
    data = look.data
    settings = data.settings or (look.record.settings if look.record else {})
    metrics = {name: points[-1][1] for name, points in data.metrics.items()}
    name = "accuracy" if "accuracy" in metrics else next(iter(metrics), "")
    return Listed(
        screen.run.name,
        state=state_of(look),
        rounds=f"{number(look.rounds)} of {number(settings.get('rounds', 0))}",
        metric=f"{name} {metrics[name]:.4f}" if name else "-",
        task=str(settings.get("task", "-")),
        begun="-" if data.begun is None else f"{data.begun:%Y-%m-%d %H:%M UTC}",
    )

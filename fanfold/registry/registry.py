"""The registry: a folder with a folder for each run, which is that of the run's coordinator.

    DIR/runs/RUN/run.json        what was asked for, and what became of it: see `record`
    DIR/runs/RUN/history.jsonl   and all else that a coordinator keeps, models among it

There is no second truth: the queue and all listings are read from these files. Each is replaced as
a whole, so whoever reads sees what was before a change or what is after it, also after a crash.
"""

import json
import shutil
from pathlib import Path

from pydantic import ValidationError

from fanfold.registry.record import RunRecord
from fanfold.schemas.errors import InvalidInputError
from fanfold.schemas.names import is_identifier
from fanfold.storage.disk import replacing, sync_folder

RECORD, REMOVALS = "run.json", "removals.json"
MOST_REMOVALS = 1000


class Registry:
    """The runs of one service, on disk. Any process may read; one writes.

    Args:
        folder: what `fanfold serve` has as --out.

    Example:
        >>> for record in Registry(Path("runs/service")).all():
        ...     print(record.run, record.state)
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._runs = folder / "runs"
        self._removed = folder / "removed"

    def folder_of(self, run: str) -> Path:
        """Return the folder of a run, which may not be there."""
        return self._runs / run

    def all(self) -> list[RunRecord]:
        """Return all runs, in the order in which they were submitted.

        Raises:
            InvalidInputError: if the record of one cannot be read.
        """
        found = [self._read(path.parent.name) for path in self._runs.glob(f"*/{RECORD}")]
        return sorted(found, key=lambda record: record.number)

    def read(self, run: str) -> RunRecord:
        """Return a run.

        Raises:
            InvalidInputError: if there is none of this name, or its record cannot be read.
        """
        if not is_identifier(run) or not (self.folder_of(run) / RECORD).exists():
            raise InvalidInputError(
                f"there is no run {run!r}; `fanfold runs` lists those there are"
            )
        return self._read(run)

    def write(self, record: RunRecord) -> None:
        """Make a record durable.

        Raises:
            OSError: if the disk refuses; what was before is still there.
        """
        folder = self.folder_of(record.run)
        if not folder.exists():
            folder.mkdir(parents=True)
            sync_folder(self._runs)
        with replacing(folder / RECORD) as file:
            file.write(record.model_dump_json(indent=1).encode() + b"\n")

    def remove(self, run: str, *, request: str) -> None:
        """Remove a run and all of its files, at once as others see it; one that is gone is fine.

        Args:
            run: its name.
            request: the id of who asked for it, which is remembered first.

        Raises:
            OSError: if the disk refuses.
        """
        with replacing(self.folder / REMOVALS) as file:
            ids = [*self.removals(), request][-MOST_REMOVALS:]
            file.write(json.dumps(ids).encode())
        if self.folder_of(run).exists():
            self._removed.mkdir(exist_ok=True)
            shutil.rmtree(self._removed / run, ignore_errors=True)
            self.folder_of(run).replace(self._removed / run)
            sync_folder(self._runs)
        self.sweep()

    def removals(self) -> list[str]:
        """Return the ids of the last requests that removed a run, the newest last."""
        path = self.folder / REMOVALS
        ids: list[str] = json.loads(path.read_bytes()) if path.exists() else []
        return ids

    def sweep(self) -> None:
        """Delete what is left of runs that were removed."""
        shutil.rmtree(self._removed, ignore_errors=True)

    def _read(self, run: str) -> RunRecord:
        path = self.folder_of(run) / RECORD
        try:
            return RunRecord.model_validate_json(path.read_bytes())
        except OSError as error:
            raise InvalidInputError(f"{path} cannot be read ({error.strerror})") from None
        except ValidationError as error:
            field = ".".join(map(str, error.errors(include_url=False)[0]["loc"]))
            raise InvalidInputError(
                f"{path} is no record of a run that this release can read (field {field!r}); "
                "restore it from a backup, or move its folder away"
            ) from None

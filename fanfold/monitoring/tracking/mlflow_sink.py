"""Runs in MLflow: a database in a folder, or a tracking server."""

import logging
import os
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fanfold.monitoring.tracking.sink import TrackedRun
from fanfold.schemas.errors import InvalidInputError

EXPERIMENT = "fanfold"
RUN_TAG = "fanfold.run"
_FORBIDDEN = re.compile(r"[^\w\-./ ]")
"""MLflow takes no other characters in names, such as those of `recall@5`."""


class MlflowSink:
    """Writes through MLflow's client into one experiment.

    Args:
        where: a folder, which then holds the database `mlflow.db`; or a tracking URI, such as
            http://host:5000.

    Raises:
        InvalidInputError: if MLflow is not installed, or cannot be reached or written.
    """

    def __init__(self, where: str) -> None:
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
        logging.getLogger("alembic").setLevel(logging.WARNING)
        try:
            import alembic  # noqa: F401, PLC0415 - an extra; for the database
            import sqlalchemy  # noqa: F401, PLC0415 - as above
            from mlflow import MlflowClient  # noqa: PLC0415 - as above
            from mlflow.exceptions import MlflowException  # noqa: PLC0415 - as above
        except ImportError:
            raise InvalidInputError(
                "--track mlflow takes MLflow: pip install 'fanfold[track]'"
            ) from None
        logging.getLogger("mlflow.store.db.utils").setLevel(logging.WARNING)  # imports set it, too
        try:
            uri = where if "://" in where else _database(Path(where))
            self._client = MlflowClient(tracking_uri=uri)
            found = self._client.get_experiment_by_name(EXPERIMENT)
            self._experiment = (
                self._client.create_experiment(EXPERIMENT) if found is None else found.experiment_id
            )
        except (MlflowException, OSError) as error:
            reason = str(error).partition("\n")[0]
            raise InvalidInputError(
                f"--track mlflow:{where} cannot be used ({reason}); name another folder or server"
            ) from None
        self._run: str | None = None

    def begin(self, run: TrackedRun) -> None:
        """Begin a run, or go on with the one of the same name."""
        from mlflow.entities import Param  # noqa: PLC0415 - as above

        before = self._begun(run.run) if run.goes_on else None
        if before is not None:
            self._run = before
            self._client.update_run(before, status="RUNNING")
            return
        tags = {RUN_TAG: run.run}
        begun = self._client.create_run(self._experiment, tags=tags, run_name=run.run)
        self._run = begun.info.run_id
        settings = [Param(_name(name), str(value)) for name, value in run.settings.items()]
        self._client.log_batch(self._run, params=settings)

    def add(self, round_number: int, scalars: Mapping[str, float]) -> None:
        """Log one value of each metric; its step is the round."""
        from mlflow.entities import Metric  # noqa: PLC0415 - as above

        if self._run is not None:
            now = int(time.time() * 1000)  # in milliseconds, as MLflow has it
            points = [Metric(_name(each), x, now, round_number) for each, x in scalars.items()]
            self._client.log_batch(self._run, metrics=points)

    def end(self, summary: Mapping[str, Any]) -> None:
        """End the run, with the summary as tags."""
        if self._run is not None:
            for name, value in summary.items():
                self._client.set_tag(self._run, f"fanfold.{name}", value)
            self._client.set_terminated(self._run, "FINISHED")
            self._run = None

    def close(self) -> None:
        """End a run that was stopped."""
        if self._run is not None:
            self._client.set_terminated(self._run, "KILLED")

    def _begun(self, run: str) -> str | None:
        found = self._client.search_runs([self._experiment], f"tags.`{RUN_TAG}` = '{run}'")
        return str(found[0].info.run_id) if found else None


def _database(folder: Path) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "mlflow.db").open("ab").close()
    return f"sqlite:///{(folder / 'mlflow.db').resolve()}"


def _name(name: str) -> str:
    return _FORBIDDEN.sub("_", name)

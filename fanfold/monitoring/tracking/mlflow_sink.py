"""Runs in MLflow: a database in a folder, or a tracking server."""

import logging
import os
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fanfold.monitoring.tracking.sink import TrackedRun
from fanfold.schemas.errors import InvalidInputError, how_to_install

if TYPE_CHECKING:
    from mlflow import MlflowClient

EXPERIMENT = "fanfold"
RUN_TAG = "fanfold.run"
_FORBIDDEN = re.compile(r"[^\w\-./ ]")
"""MLflow takes no other characters in names, such as those of `recall@5`."""


def connected(where: str, option: str) -> "tuple[MlflowClient, str]":
    """Return MLflow's client and the id of the experiment `fanfold`, which is made if need be.

    Args:
        where: a folder, which then holds the database `mlflow.db` and what runs leave; or a
            tracking URI, such as http://host:5000.
        option: that names it, for what is said.

    Raises:
        InvalidInputError: if MLflow is not installed, or cannot be reached or written.
    """
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
            f"{option.rstrip(':')} takes MLflow: {how_to_install('track')}"
        ) from None
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.WARNING)  # imports set it, too
    is_folder = "://" not in where
    try:
        client = MlflowClient(tracking_uri=_database(Path(where)) if is_folder else where)
        found = client.get_experiment_by_name(EXPERIMENT)
        if found is not None:
            return client, found.experiment_id
        files = (Path(where) / "artifacts").resolve().as_uri() if is_folder else None
        return client, client.create_experiment(EXPERIMENT, artifact_location=files)
    except (MlflowException, OSError) as error:
        reason = str(error).partition("\n")[0]
        raise InvalidInputError(
            f"{option}{where} cannot be used ({reason}); name another folder or server"
        ) from None


def found_run(client: "MlflowClient", experiment: str, run: str) -> str | None:
    """Return MLflow's id of a run of this name in Fanfold, if it is there."""
    found = client.search_runs([experiment], f"tags.`{RUN_TAG}` = '{run}'")
    return str(found[0].info.run_id) if found else None


def name_in_mlflow(name: str) -> str:
    """Return a name without what MLflow does not take."""
    return _FORBIDDEN.sub("_", name)


class MlflowSink:
    """Writes through MLflow's client into one experiment.

    Args:
        where: a folder, which then holds the database `mlflow.db`; or a tracking URI, such as
            http://host:5000.

    Raises:
        InvalidInputError: if MLflow is not installed, or cannot be reached or written.
    """

    def __init__(self, where: str) -> None:
        self._client, self._experiment = connected(where, "--track mlflow:")
        self._run: str | None = None

    def begin(self, run: TrackedRun) -> None:
        """Begin a run, or go on with the one of the same name."""
        from mlflow.entities import Param  # noqa: PLC0415 - as above

        before = found_run(self._client, self._experiment, run.run) if run.goes_on else None
        if before is not None:
            self._run = before
            self._client.update_run(before, status="RUNNING")
            return
        tags = {RUN_TAG: run.run}
        begun = self._client.create_run(self._experiment, tags=tags, run_name=run.run)
        self._run = begun.info.run_id
        settings = [Param(name_in_mlflow(name), str(value)) for name, value in run.settings.items()]
        self._client.log_batch(self._run, params=settings)

    def add(self, round_number: int, scalars: Mapping[str, float]) -> None:
        """Log one value of each metric; its step is the round."""
        from mlflow.entities import Metric  # noqa: PLC0415 - as above

        if self._run is not None:
            now = int(time.time() * 1000)  # in milliseconds, as MLflow has it
            points = [
                Metric(name_in_mlflow(each), x, now, round_number) for each, x in scalars.items()
            ]
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


def _database(folder: Path) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "mlflow.db").open("ab").close()
    return f"sqlite:///{(folder / 'mlflow.db').resolve()}"

"""A run in MLflow's format: settings, metrics by version, models, and where they come from."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fanfold.coordinator.persistence.history import HISTORY
from fanfold.coordinator.persistence.records import records_of
from fanfold.monitoring.scalars import scalars_of
from fanfold.monitoring.tracking.mlflow_sink import (
    RUN_TAG,
    connected,
    found_run,
    name_in_mlflow,
)
from fanfold.registry.details import details_of
from fanfold.registry.model_card import in_markdown, model_card
from fanfold.registry.models import models_of
from fanfold.registry.record import RunRecord
from fanfold.registry.registry import RECORD, Registry
from fanfold.runs.history import History
from fanfold.runs.run_data import gathered
from fanfold.schemas.errors import InvalidInputError
from fanfold.schemas.events.commands import ExportedToMlflow

if TYPE_CHECKING:
    from mlflow import MlflowClient

MOST_AT_ONCE = 100
"""Settings in one message: MLflow takes no more."""
FACTS = ("state", "reason", "task", "task_sha256", "parameters_sha256", "submitted_by")
STATUS = {"finished": "FINISHED", "stopped": "KILLED", "failed": "FAILED"}
"""In MLflow, by a run's state in the registry; all others go on."""


def export_to_mlflow(folder: Path, where: str) -> ExportedToMlflow:
    """Write a run into MLflow; where that was done before, what is new is added.

    The step of a metric is the version. Beside a model lies its card, where the run is one of
    a registry, and tags name the run and the version that it begins from.

    Args:
        folder: of the run.
        where: a folder for MLflow's database and files, or a tracking URI.

    Raises:
        InvalidInputError: if there is no run, or MLflow is missing or refuses.
    """
    history = History.read(folder)
    data = gathered(records_of(folder / HISTORY))
    registry, record = _registered(folder)
    client, experiment = connected(where, "--mlflow ")
    from mlflow.exceptions import MlflowException  # noqa: PLC0415 - an extra

    try:
        run = found_run(client, experiment, data.run)
        if run is None:
            begun = None if data.begun is None else _milliseconds(data.begun)
            name = data.run if record is None else record.run
            tags = {RUN_TAG: data.run}
            made = client.create_run(experiment, start_time=begun, tags=tags, run_name=name)
            run = str(made.info.run_id)
        _log_settings(client, run, data.settings)
        _log_rounds(client, run, history)
        details = None if record is None else details_of(registry, record)
        for name, value in _tags_of(details or {}):
            client.set_tag(run, name, value)
        models = _log_models(client, run, folder, details)
        status = "RUNNING" if record is None else STATUS.get(record.state, "RUNNING")
        if data.is_over:
            status = "FINISHED"
        client.update_run(run, status=status)
    except MlflowException as error:
        reason = str(error).partition("\n")[0]
        raise InvalidInputError(f"--mlflow {where} refuses: {reason}") from None
    return ExportedToMlflow(where, mlflow_run=run, rounds=len(history), models=models)


def _registered(folder: Path) -> tuple[Registry, RunRecord | None]:
    """Return the registry that a folder is in, and the run's record, if it is in one."""
    registry = Registry(folder.resolve().parent.parent)
    is_there = (folder / RECORD).is_file()
    return registry, registry.read(folder.resolve().name) if is_there else None


def _log_settings(client: "MlflowClient", run: str, settings: Mapping[str, Any]) -> None:
    from mlflow.entities import Param  # noqa: PLC0415 - an extra

    params = [Param(name_in_mlflow(name), str(value)) for name, value in settings.items()]
    for at in range(0, len(params), MOST_AT_ONCE):
        client.log_batch(run, params=params[at : at + MOST_AT_ONCE])


def _log_rounds(client: "MlflowClient", run: str, history: History) -> None:
    from mlflow.entities import Metric  # noqa: PLC0415 - an extra

    for closed in history:
        at = 0 if closed.time is None else _milliseconds(closed.time)
        points = [
            Metric(name_in_mlflow(name), value, at, closed.version)
            for name, value in scalars_of(closed).items()
        ]
        client.log_batch(run, metrics=points)


def _tags_of(details: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield what a registry knows of a run, as tags."""
    for name in FACTS:
        if details.get(name) is not None:
            yield f"fanfold.{name}", str(details[name])
    for name, version in details.get("software", {}).items():
        yield f"fanfold.software.{name}", version
    ancestors = details.get("lineage", [])
    if ancestors:
        named = [f"{each['run']}@{each['version']}" for each in ancestors]
        yield "fanfold.begins_from", named[0]
        yield "fanfold.lineage", " < ".join(named)
        if ancestors[0]["parameters_sha256"] is not None:
            yield "fanfold.begins_from_sha256", ancestors[0]["parameters_sha256"]


def _log_models(
    client: "MlflowClient", run: str, folder: Path, details: dict[str, Any] | None
) -> int:
    """Put the models there, each with its card if there is one; return how many."""
    models = models_of(folder)
    for model in models.values():
        client.log_artifact(run, str(model.path))
        name = model.path.stem
        if model.parameters_sha256 is not None:
            client.set_tag(run, f"fanfold.{name}.parameters_sha256", model.parameters_sha256)
        client.set_tag(run, f"fanfold.{name}.version", str(model.version))
        if details is not None:
            card = model_card(details, model)
            client.log_dict(run, card, f"{name}.json")
            client.log_text(run, in_markdown(card), f"{name}.md")
    return len(models)


def _milliseconds(time: datetime) -> int:
    """Return a time as MLflow has it."""
    return int(time.timestamp() * 1000)

"""All that is known of a run, as plain values for people, programs and pages."""

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fanfold.coordinator.persistence.history import HISTORY
from fanfold.registry.models import ModelFile, kept_models, models_of
from fanfold.registry.record import Parent, RunRecord
from fanfold.registry.registry import Registry
from fanfold.runs.history import History
from fanfold.schemas.errors import InvalidInputError
from fanfold.schemas.events.coordinator import RoundClosed

IN_SHORT = frozenset(
    {"run", "state", "reason", "priority", "task", "submitted_at", "submitted_by", "accuracy"}
)
"""What a list shows of each record."""
UNSHOWN = frozenset({"number", "requests"})


def summary_of(record: RunRecord, *, version: int | None) -> dict[str, Any]:
    """Return a run in short.

    Args:
        record: of the run.
        version: the newest one, None where it is not known.
    """
    rounds = record.settings.get("rounds")
    short = record.model_dump(mode="json", include=set(IN_SHORT))
    return short | {"version": version, "rounds": rounds, "parent": _named(record.parent)}


def details_of(registry: Registry, record: RunRecord) -> dict[str, Any]:
    """Return a run with its closed rounds, its participants, its models and its ancestors.

    The keys are those of `RunRecord`, and `version` (the newest that is told), `closed_rounds`
    (documents of `round_closed`), `participants` (what each gave), `models` (by kind: file,
    version, bytes, parameters_sha256), `kept_versions` (the same of others, the newest first) and
    `lineage` (the nearest ancestor first).
    """
    folder = registry.folder_of(record.run)
    history = history_of(folder)
    rounds = [] if history is None else [each.document(whole=True) for each in history]
    return {
        **record.model_dump(mode="json", exclude=set(UNSHOWN)),
        "version": rounds[-1]["version"] if rounds else None,
        "closed_rounds": rounds,
        "participants": []
        if history is None
        else [asdict(each) for each in history.participants.values()],
        "models": {kind: _model(model) for kind, model in models_of(folder).items()},
        "kept_versions": [_model(model) for model in kept_models(folder)],
        "lineage": [each.model_dump(mode="json") for each in lineage_of(registry, record)],
    }


def _model(model: ModelFile) -> dict[str, Any]:
    return {
        "file": model.path.name,
        "version": model.version,
        "bytes": model.num_bytes,
        "parameters_sha256": model.parameters_sha256,
    }


def history_of(folder: Path) -> History | None:
    """Return the history in a run's folder; None where nothing is written yet.

    Raises:
        InvalidInputError: if it cannot be read.
    """
    return History.read(folder) if (folder / HISTORY).is_file() else None


def lineage_of(registry: Registry, record: RunRecord) -> Iterator[Parent]:
    """Yield the version that a run begins from, the one which that run begins from, and so on.

    It ends with a run that begins anew, and with one that was removed.
    """
    seen = {record.run}
    while record.parent is not None:
        yield record.parent
        if record.parent.run in seen:  # its name was given again
            return
        seen.add(record.parent.run)
        try:
            record = registry.read(record.parent.run)
        except InvalidInputError:
            return


def closed_round(details: dict[str, Any], version: int) -> dict[str, Any]:
    """Return what is known of the round that made a version; nothing of version 0."""
    return next((each for each in details["closed_rounds"] if each["version"] == version), {})


def metrics_of(closed: dict[str, Any]) -> dict[str, float]:
    """Return what was measured of a version, by name."""
    own = {name: closed.get(name) for name in ("loss", "accuracy")}
    everything = own | (closed.get("metrics") or {})
    return {name: value for name, value in everything.items() if value is not None}


def last_closed(folder: Path) -> RoundClosed | None:
    """Return the newest round that a run's history tells of; None before the first one."""
    history = history_of(folder)
    return history[-1] if history else None


def _named(parent: Parent | None) -> str | None:
    return None if parent is None else f"{parent.run}@{parent.version}"

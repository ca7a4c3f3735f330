"""The model files in a run's folder, and which of them a version is. No torch here."""

import re
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open

from fanfold.coordinator.persistence.model_names import BEST, DIGEST, MODEL
from fanfold.schemas.errors import InvalidInputError
from fanfold.schemas.names import check_identifier
from fanfold.schemas.operator_messages import Wanted

FILES = {"last": MODEL, "best": BEST}
"""Of each kind of version."""


@dataclass(frozen=True, slots=True)
class ModelFile:
    """One model of a run."""

    path: Path
    version: int
    num_bytes: int
    parameters_sha256: str | None
    """Where the file says so: that of the last version does."""


def models_of(folder: Path) -> dict[str, ModelFile]:
    """Return the models in a run's folder: `last` and `best`, as far as they are there."""
    found = {kind: _read(folder / name) for kind, name in FILES.items()}
    return {kind: model for kind, model in found.items() if model is not None}


def model_of(run: str, folder: Path, wanted: Wanted) -> ModelFile:
    """Return the model of a version.

    Args:
        run: the run's name, for what is said where there is none.
        folder: that of the run.
        wanted: which version.

    Raises:
        InvalidInputError: if there is no file of it.
    """
    there = models_of(folder)
    if isinstance(wanted, str) and wanted in there:
        return there[wanted]
    for model in there.values():
        if model.version == wanted:
            return model
    choices = ", ".join(f"{kind} (version {model.version})" for kind, model in there.items())
    if isinstance(wanted, int):
        raise InvalidInputError(
            f"the run {run} keeps no model of version {wanted}: it has {choices or 'none'}"
        )
    raise InvalidInputError(
        f"the run {run} has no model {wanted!r}: {choices or 'none'} so far; the last one is "
        "written when a run ends, the best one whenever a version was measured"
    )


def parse_wanted(text: str) -> Wanted:
    """Return which version a text names: `last`, `best`, or a number.

    Raises:
        InvalidInputError: if it names none.
    """
    if text == "last":
        return "last"
    if text == "best":
        return "best"
    if re.fullmatch(r"[0-9]{1,15}", text):
        return int(text)
    raise InvalidInputError(f"{text!r} is no version; name last, best or a number")


def parse_parent(text: str) -> tuple[str, Wanted]:
    """Return run and version of `RUN` or `RUN@VERSION`; the last version where none is named.

    Raises:
        InvalidInputError: if it names none.
    """
    run, at, version = text.partition("@")
    return check_identifier("the run's name", run), parse_wanted(version if at else "last")


def _read(path: Path) -> ModelFile | None:
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = dict(file.metadata() or {})
        return ModelFile(
            path,
            version=int(metadata["version"]),
            num_bytes=path.stat().st_size,
            parameters_sha256=metadata.get(DIGEST),
        )
    except (OSError, SafetensorError, KeyError, ValueError):
        return None  # not written yet, or by something else

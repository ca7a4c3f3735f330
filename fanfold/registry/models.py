"""The model files in a run's folder, and which of them a version is. No torch here."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open

from fanfold.coordinator.persistence.model_names import (
    BEST,
    DIGEST,
    MODEL,
    SUFFIX,
    VERSIONS,
)
from fanfold.schemas.errors import InvalidInputError
from fanfold.schemas.names import check_identifier
from fanfold.schemas.operator_messages import Wanted

FILES = {"last": MODEL, "best": BEST}
"""Of each kind of version."""
MOST_KEPT_LISTED = 200
"""Kept versions that are listed with size and digest; any of them can be pulled."""
MOST_NAMED = 8


@dataclass(frozen=True, slots=True)
class ModelFile:
    """One model of a run."""

    path: Path
    version: int
    num_bytes: int
    parameters_sha256: str | None
    """Where the file says so: one that an older release wrote may not."""


def models_of(folder: Path) -> dict[str, ModelFile]:
    """Return the models in a run's folder: `last` and `best`, as far as they are there."""
    found = {kind: _read(folder / name) for kind, name in FILES.items()}
    return {kind: model for kind, model in found.items() if model is not None}


def kept_versions(folder: Path) -> list[int]:
    """Return which versions are kept beside `last` and `best`, the newest first."""
    paths = (folder / VERSIONS).glob(f"*{SUFFIX}")
    return sorted((int(path.stem) for path in paths if path.stem.isdecimal()), reverse=True)


def kept_models(folder: Path) -> list[ModelFile]:
    """Return the newest of the kept versions, the newest first."""
    paths = [kept_path(folder, each) for each in kept_versions(folder)[:MOST_KEPT_LISTED]]
    return [model for path in paths if (model := _read(path)) is not None]


def kept_path(folder: Path, version: int) -> Path:
    """Return where a version is, if it is kept."""
    return folder / VERSIONS / f"{version}{SUFFIX}"


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
    if isinstance(wanted, int):
        same = (model for model in there.values() if model.version == wanted)
        model = next(same, None) or _read(kept_path(folder, wanted))
        if model is not None:
            return model
    choices = [f"{kind} (version {model.version})" for kind, model in there.items()]
    if kept := kept_versions(folder):
        choices.append(f"of those before {in_short(kept)}")
    has = ", ".join(choices) or "none"
    if isinstance(wanted, int):
        raise InvalidInputError(
            f"the run {run} keeps no model of version {wanted}: it has {has}; a run that is "
            "submitted with --keep-versions keeps more"
        )
    raise InvalidInputError(
        f"the run {run} has no model {wanted!r}: {has} so far; the last one is written when a run "
        "ends, the best one whenever a version was measured"
    )


def in_short(versions: Sequence[int]) -> str:
    """Return the first of some versions, and how many more there are."""
    named = ", ".join(str(each) for each in versions[:MOST_NAMED])
    more = len(versions) - MOST_NAMED
    return f"{named} and {more} more" if more > 0 else named


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

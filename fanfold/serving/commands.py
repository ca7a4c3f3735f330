"""The command line of the coordinator of one run."""

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from fanfold.coordinator.settings import HostSettings, IdentitySettings
from fanfold.local.flags import flags_of
from fanfold.registry.record import RunRecord
from fanfold.schemas.names import FederationNames
from fanfold.serving.settings import ServeSettings

PARENT_FILE = "parent.safetensors"
"""In the folder of a run that begins from another's version: its parameters."""
FOR_EVER_SECONDS = 1e8
"""The service has a broker when it opens a run; one that is gone since comes back."""


def coordinator_command(
    settings: ServeSettings, record: RunRecord, folder: Path, *, rounds: int | None = None
) -> list[str]:
    """Return the command that runs a run's coordinator, and prints its events as JSON.

    Args:
        settings: of the service; its broker is passed in the environment, for it holds a password.
        record: of the run.
        folder: of the run.
        rounds: end after this one, whatever was asked for.
    """
    names = FederationNames(settings.federation, run=record.run)
    host = {
        name: getattr(settings, name)
        for name in HostSettings.model_fields
        if name not in ("broker", "federation")
    }
    host |= {"federation": names.prefix, "connect_seconds": FOR_EVER_SECONDS}
    own = {name: getattr(settings, name) for name in IdentitySettings.model_fields}
    options = dict(record.options)
    if rounds is not None:
        options["rounds"] = str(rounds)
    parent = [f"--initial={folder / PARENT_FILE}"] if record.parent is not None else []
    return [
        *(sys.executable, "-m", "fanfold", "coordinator"),
        *flags_of(HostSettings.model_construct(**host)),
        *flags_of(IdentitySettings.model_construct(**own)),
        f"--out={folder}",
        *_flags(options),
        *parent,
        "--json",
    ]


def _flags(options: Mapping[str, Any]) -> Iterator[str]:
    """Yield options as they were given."""
    for name, value in options.items():
        option = name.replace("_", "-")
        if isinstance(value, bool):
            yield f"--{option}" if value else f"--no-{option}"
        elif isinstance(value, list | tuple):
            yield from (f"--{option}={each}" for each in value)
        else:
            yield f"--{option}={value}"

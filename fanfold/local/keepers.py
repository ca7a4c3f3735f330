"""Keepers of masks for trying out: their keys, everybody's keys, and their command lines."""

from pathlib import Path

from fanfold.local.settings import LocalSettings
from fanfold.schemas.errors import InvalidInputError
from fanfold.sealing.identity import PUBLIC_FILE, Identity, PublicIdentity
from fanfold.sealing.roster import changing


def with_keepers(settings: LocalSettings) -> LocalSettings:
    """Return the settings with the keepers that they ask for, whose keys are made here.

    All keys lie in one place, so that masks hide nothing from whoever reads that.

    Raises:
        InvalidInputError: if the folder cannot be written.
    """
    if settings.masks:
        raise InvalidInputError("fanfold local makes keepers of its own; say how many: --keepers 1")
    if not settings.keepers:
        return settings
    folder = keepers_folder(settings)
    names = [*_keeper_names(settings), *settings.names]
    made = {name: _identity(folder / name) for name in names}
    with changing(folder) as held:
        for name in settings.names:
            if name not in held[0].members:
                held[0] = held[0].enroll(name, made[name])
    masks = tuple(folder / name / PUBLIC_FILE for name in _keeper_names(settings))
    return settings.model_copy(update={"masks": masks})


def keepers_folder(settings: LocalSettings) -> Path:
    """Return the folder of the keys, and of the roster."""
    return settings.out / "keepers"


def keeper_commands(settings: LocalSettings) -> dict[str, list[str]]:
    """Return the arguments of `fanfold` that run the keepers, by name."""
    folder, names = keepers_folder(settings), _keeper_names(settings)
    return {
        name: [
            "keeper",
            f"--federation={settings.federation}",
            f"--identity={folder / name}",
            f"--roster={folder}",
            f"--state-dir={folder / name / 'state'}",
            f"--masks-at-least={settings.masks_at_least}",
            *(f"--peer={folder / peer / PUBLIC_FILE}" for peer in names if peer != name),
            *_connecting(settings),
        ]
        for name in names
    }


def _connecting(settings: LocalSettings) -> list[str]:
    flags = {
        "ca-file": settings.ca_file,
        "certificate": settings.certificate,
        "key": settings.key,
        "heartbeat-seconds": settings.heartbeat_seconds,
        "connect-seconds": settings.connect_seconds,
        "reconnect-seconds": settings.reconnect_seconds,
    }
    return [f"--{flag}={value}" for flag, value in flags.items() if value is not None]


def _keeper_names(settings: LocalSettings) -> list[str]:
    return [f"keeper-{index}" for index in range(settings.keepers)]


def _identity(folder: Path) -> PublicIdentity:
    """Return the identity of a folder; it is made if there is none yet."""
    if not (folder / PUBLIC_FILE).exists():
        Identity.generate().write(folder)
    return PublicIdentity.read(folder)

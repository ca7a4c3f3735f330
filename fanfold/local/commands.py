"""The command lines of the services that `fanfold local` starts."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fanfold.coordinator.settings import CoordinatorSettings
from fanfold.learning.placement import place, sharers
from fanfold.local.flags import flags_of
from fanfold.local.keepers import keepers_folder
from fanfold.local.settings import LocalSettings
from fanfold.participant.data_folders import COORDINATOR
from fanfold.participant.settings import ExamplePrivacySettings


def coordinator_command(settings: LocalSettings, devices: Sequence[str] = ()) -> list[str]:
    """Return the arguments of `fanfold` that run the coordinator, and print its events as JSON."""
    return ["coordinator", *flags_of(coordinator_settings(settings, devices)), "--json"]


def coordinator_settings(
    settings: LocalSettings, devices: Sequence[str] = ()
) -> CoordinatorSettings:
    """Return the coordinator's settings; its broker is passed in the environment.

    It evaluates on the accelerator whose turn it is after the last participant.
    """
    fields = CoordinatorSettings.model_fields
    shared = (fields.keys() & LocalSettings.model_fields.keys()) - {"data"}
    chosen = {name: getattr(settings, name) for name in fields if name in shared}
    chosen["data"] = settings.held_out_folder
    # Only what differs from the defaults: some checks ask whether a setting was given at all.
    values: dict[str, Any] = {
        name: value for name, value in chosen.items() if value != fields[name].get_default()
    }
    if settings.sealed:
        values["identity"] = keys_of(settings, COORDINATOR)
    if device := settings.device or place(settings.participants, devices):
        values["device"] = device
    values["broker"] = ()  # passed in the environment, because it holds a password
    cores = os.cpu_count() or 1
    values["threads"] = settings.threads or max(1, cores // settings.participants)
    return CoordinatorSettings(**values)


def participant_command(
    settings: LocalSettings, index: int, devices: Sequence[str] = ()
) -> list[str]:
    """Return the arguments of `fanfold` that run one participant on its share of the data.

    Args:
        settings: of the federation.
        index: which participant.
        devices: accelerators of this machine, among which participants are dealt out in turn.
    """
    name = settings.names[index]
    choices = {field: getattr(settings, field) for field in ExamplePrivacySettings.model_fields}
    if choices["device_memory_fraction"] is None:
        # An equal share: otherwise the first one would take the memory that the others need. The
        # coordinator evaluates on one of the devices, and has a share there.
        used = () if settings.device else devices
        many = sharers(index, settings.participants + 1, used)
        choices["device_memory_fraction"] = round(1 / many, 6)
    states = _states(settings)
    flags = {
        "federation": settings.federation,
        "id": name,
        "task": settings.task,
        **settings.share_of(index),
        "seed": settings.seed,
        "device": settings.device or place(index, devices),
        "state_dir": states and states / name,
        "ca_file": settings.ca_file,
        "certificate": settings.certificate,
        "key": settings.key,
        "heartbeat_seconds": settings.heartbeat_seconds,
        "chunk_bytes": settings.chunk_bytes,
        "connect_seconds": settings.connect_seconds,
        "reconnect_seconds": settings.reconnect_seconds,
        "log_format": settings.log_format,
        "mask_identity": keepers_folder(settings) / name if settings.keepers else None,
    }
    if settings.sealed:
        flags["identity"] = keys_of(settings, name)
        flags["coordinator_identity"] = keys_of(settings, COORDINATOR)
    masks = [f"--masks={keeper}" for keeper in settings.masks]
    given = [
        f"--{flag.replace('_', '-')}={value}" for flag, value in flags.items() if value is not None
    ]
    return ["participant", *given, *masks, *flags_of(ExamplePrivacySettings(**choices))]


def keys_of(settings: LocalSettings, name: str) -> Path:
    """Return the folder of somebody's keys in a sealed federation on this machine."""
    return settings.out / "keys" / name


def _states(settings: LocalSettings) -> Path | None:
    """Return the folder of the participants' states; None if they need none.

    A participant that adds noise needs one: it must not send the same update with new noise after a
    restart, and has to remember how much privacy is spent.
    """
    has_noise = settings.dp_clip is not None and settings.dp_at != "coordinator"
    if settings.state_dir is None and (has_noise or settings.dp_sgd_clip is not None):
        return settings.out / "participants"
    return settings.state_dir

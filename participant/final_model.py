"""The last model of a run: put together as it comes, and kept in the state folder."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from fanfold.participant.trainer import Trainer
from fanfold.participant.version import Version
from fanfold.schemas.events.event import Event
from fanfold.schemas.events.participant import FinalModelIgnored, FinalModelKept
from fanfold.schemas.tensor_codec import decode_tensors
from fanfold.storage import safetensors_file
from fanfold.storage.disk import until_there_is_room

FILE = "final.safetensors"


@dataclass(frozen=True, slots=True)
class Order:
    """To keep the last model of a run."""

    version: Version


def keep(
    version: Version, trainer: Trainer, folder: Path | None, await_disk: Callable[[OSError], None]
) -> Event:
    """Write a whole model into the state folder, if there is one; return what people are told.

    It is the network as this participant would use it: what does not travel is its own.

    Args:
        version: the model.
        trainer: holds the network.
        folder: of the participant's state.
        await_disk: called before the next attempt where the disk refuses.

    Raises:
        InvalidInputError: if the model is of another network than the trainer's.
        MalformedMessageError: if it is damaged.
    """
    if folder is None or version.assembly is None:
        return FinalModelIgnored(version.run, version.number)
    state = trainer.state_with(decode_tensors(version.assembly.decode()))
    path, metadata = folder / FILE, {"run": version.run, "version": str(version.number)}
    until_there_is_room(lambda: safetensors_file.replace(path, state, metadata), await_disk)
    return FinalModelKept(version.run, version.number, model=str(path))

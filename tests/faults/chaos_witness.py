"""Records what participants trained, kept and left out, in their own processes.

The product does not know of it: its methods are wrapped. A training counts once its outcome is
kept, so it is recorded before that, and afterwards it is proved that it was kept.
"""

import functools
import hashlib
import inspect
import json
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import save
from torch import Tensor

from fanfold.participant.trainer import TrainedUpdate, Trainer
from fanfold.participant.training_state import TrainingState
from fanfold.schemas.chunking import cut

VARIABLE = "FANFOLD_TEST_WITNESS"
"""The folder to write to; nothing is recorded if it is empty or not set."""


def bear_witness(participant: str) -> None:
    """Record every training of this process from now on, if the variable is set."""
    if os.environ.get(VARIABLE):
        folder = Path(os.environ[VARIABLE]) / participant
        folder.mkdir(parents=True, exist_ok=True)
        _Witness(folder)


class _Witness:
    """Records a training, and then its outcome before it is kept."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._before: dict[str, str] = {}
        self._owed: Mapping[str, Tensor] = {}
        self._trained: Mapping[str, Tensor] = {}
        _around(Trainer, "train", self._trains)
        _around(TrainingState, "keep", self._keeps)

    def _trains(self, train: Callable[..., TrainedUpdate], given: inspect.BoundArguments) -> Any:
        trainer: Trainer = given.arguments["self"]
        self._before = {"private": digest_of(trainer.private_tensors)}
        self._owed = dict(given.arguments.get("owed") or {})
        trained = train(*given.args, **given.kwargs)
        self._trained = dict(trained.tensors)
        return trained

    def _keeps(self, keep: Callable[..., None], given: inspect.BoundArguments) -> None:
        encoded = given.arguments["encoded"]
        note = {
            "digest": cut(encoded, chunk_bytes=4096)[0].header.whole.digest,
            "version": encoded.message.base_version,
            "private_before": self._before["private"],
            "private_after": digest_of(given.arguments["private"]),
        }
        tensors = {
            **{f"owed/{name}": tensor for name, tensor in self._owed.items()},
            **{f"trained/{name}": tensor for name, tensor in self._trained.items()},
            **{f"left/{name}": tensor for name, tensor in given.arguments["residual"].items()},
        }
        path = self._folder / f"{time.time_ns()}"
        path.with_suffix(".update").write_bytes(b"".join(encoded.buffers))
        path.with_suffix(".tensors").write_bytes(
            save({name: tensor.contiguous() for name, tensor in tensors.items()})
        )
        path.with_suffix(".json").write_text(json.dumps(note))
        keep(*given.args, **given.kwargs)


def digest_of(tensors: Mapping[str, Tensor]) -> str:
    """Return a hash of tensors by name."""
    whole = hashlib.sha256()
    for name in sorted(tensors):
        whole.update(name.encode())
        whole.update(tensors[name].detach().cpu().contiguous().numpy().tobytes())
    return whole.hexdigest()


def _around(owner: type, name: str, do: Callable[..., Any]) -> None:
    method: Callable[..., Any] = getattr(owner, name)
    signature = inspect.signature(method)

    @functools.wraps(method)
    def seen(*args: Any, **kwargs: Any) -> Any:
        return do(method, signature.bind(*args, **kwargs))

    setattr(owner, name, seen)

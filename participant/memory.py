"""What a participant remembers: its last update, private tensors, top-k's residual.

Without a state folder all of it lives in memory, and a restart begins anew.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from participant.reader import Version
from schemas.codec import Encoded, decode
from schemas.errors import InvalidInputError, MalformedMessageError
from schemas.limits import Limits
from schemas.messages import Update


@dataclass(frozen=True, slots=True)
class KeptUpdate:
    """An encoded update, and the digest of the version it answers."""

    base_digest: str
    encoded: Encoded


class Memory:
    """The last encoded update stays until a newer version is answered.

    The same version is never trained twice.
    """

    def __init__(self, folder: Path | None, limits: Limits) -> None:
        """Read what an earlier life left in `folder`.

        Raises:
            InvalidInputError: if the folder cannot be used.
        """
        self._folder = folder
        self._update: KeptUpdate | None = None
        self.residual: dict[str, Tensor] = {}
        self.private: dict[str, Tensor] = {}
        if folder is None:
            return
        try:
            folder.mkdir(parents=True, exist_ok=True)
            probe = folder / "update.warren.incoming"  # a folder that may be read is not enough
            probe.write_bytes(b"")
            probe.unlink()
            self.residual = _load(folder / "residual.safetensors")
            self.private = _load(folder / "private.safetensors")
            self._update = _load_update(folder / "update.warren", limits)
        except OSError as error:
            raise InvalidInputError(
                f"--state-dir {folder} cannot be used ({error.strerror}); choose another folder"
            ) from None

    @property
    def is_durable(self) -> bool:
        """Whether what is kept outlives this process."""
        return self._folder is not None

    def answer_to(self, version: Version) -> Encoded | None:
        """Return the update that answered this very version, if it is kept."""
        if self._update is None or self._update.base_digest != version.digest:
            return None
        return self._update.encoded

    def keep(
        self,
        base_digest: str,
        encoded: Encoded,
        *,
        residual: Mapping[str, Tensor],
        private: Mapping[str, Tensor],
    ) -> None:
        """Keep an update, and what training left behind, before the update is published.

        The update is written last: it stands for the other two.
        """
        self._update = KeptUpdate(base_digest, encoded)
        self.residual = dict(residual)
        if self._folder is None:
            return
        if residual:
            _write(self._folder / "residual.safetensors", [save(dict(residual))])
        if private:
            contiguous = {name: tensor.cpu().contiguous() for name, tensor in private.items()}
            _write(self._folder / "private.safetensors", [save(contiguous)])
        head = json.dumps({"base_digest": base_digest}).encode() + b"\n"
        _write(self._folder / "update.warren", [head, *encoded.buffers])


def restore_private(targets: Mapping[str, Tensor], kept: Mapping[str, Tensor]) -> None:
    """Copy kept private tensors into the network, in place.

    Those that no longer fit are left as they are.
    """
    with torch.no_grad():
        for name, tensor in kept.items():
            if name in targets and targets[name].shape == tensor.shape:
                targets[name].copy_(tensor)


def _load(path: Path) -> dict[str, Tensor]:
    if not path.exists():
        return {}
    try:
        return load_file(path)
    except SafetensorError as error:
        raise InvalidInputError(
            f"{path} is damaged ({error}); remove it to begin without what it held"
        ) from None


def _load_update(path: Path, limits: Limits) -> KeptUpdate | None:
    """Return the kept update, or None where there is none that is whole.

    Then it is trained again.
    """
    if not path.exists():
        return None
    head, _, body = path.read_bytes().partition(b"\n")
    whole = memoryview(bytearray(body))
    try:
        decoded = decode(whole, kind=Update.KIND, limits=limits)
        base_digest = str(json.loads(head)["base_digest"])
    except (MalformedMessageError, ValueError, KeyError, TypeError):
        return None
    encoded = Encoded(decoded.message, decoded.entries, whole.nbytes, (whole,))
    return KeptUpdate(base_digest, encoded)


def _write(path: Path, buffers: list[bytes | memoryview]) -> None:
    """Replace a file durably and at once."""
    incoming = path.with_name(f"{path.name}.incoming")
    with incoming.open("wb") as file:
        for buffer in buffers:
            file.write(buffer)
        file.flush()
        os.fsync(file.fileno())
    incoming.replace(path)

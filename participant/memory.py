"""What a participant remembers: its last update, private tensors, top-k's residual.

Without a state folder all of it lives in memory, and a restart begins anew.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from participant import durable
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

    The same version is never trained twice. With a folder, update, residual and private tensors lie
    in one file: a crash leaves those of one training, never of two.
    """

    def __init__(self, folder: Path | None, limits: Limits) -> None:
        """Read what an earlier life left in `folder`.

        Raises:
            InvalidInputError: if the folder cannot be used, or what it holds is damaged.
        """
        self._path = None if folder is None else folder / "last-training.warren"
        self._update: KeptUpdate | None = None
        self._run = ""
        self._residual: dict[str, Tensor] = {}
        self.private: dict[str, Tensor] = {}
        if self._path is None:
            return
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            probe = self._path.with_name("probe.incoming")  # a folder to read is not enough
            probe.write_bytes(b"")
            probe.unlink()
            if self._path.exists():
                self._read(self._path, limits)
        except OSError as error:
            raise InvalidInputError(
                f"--state-dir {folder} cannot be used ({error.strerror}); choose another folder"
            ) from None

    @property
    def is_durable(self) -> bool:
        """Whether what is kept outlives this process."""
        return self._path is not None

    def answer_to(self, version: Version) -> Encoded | None:
        """Return the update that answered this very version, if it is kept."""
        if self._update is None or self._update.base_digest != version.digest:
            return None
        return self._update.encoded

    def owed_to(self, run: str) -> Mapping[str, Tensor]:
        """Return what a lossy encoding left out of this run's updates so far, by tensor name."""
        return self._residual if run == self._run else {}

    def keep(
        self,
        base_digest: str,
        encoded: Encoded,
        *,
        run: str,
        residual: Mapping[str, Tensor],
        private: Mapping[str, Tensor],
    ) -> None:
        """Keep an update, and what training left behind, before the update is published.

        Raises:
            OSError: if the disk refuses; what was kept before still is.
        """
        if self._path is not None:
            contiguous = {name: tensor.cpu().contiguous() for name, tensor in private.items()}
            parts = [save(dict(residual)), save(contiguous)]
            head = _Head(run, base_digest, *map(len, parts))
            durable.replace(self._path, [head.line(), *parts, *encoded.buffers])
        self._update = KeptUpdate(base_digest, encoded)
        self._run, self._residual = run, dict(residual)

    def refused(self, run: str, base_version: int) -> None:
        """Let the next start of the participant train anew what was refused of this one.

        Until then its data, its code or its settings may have been mended; this process would
        train the same again, and keeps the update for a coordinator with other limits.

        Raises:
            OSError: if the disk refuses; the update is kept for the next start too.
        """
        kept = self._update.encoded.message if self._update is not None else None
        if self._path is None or not isinstance(kept, Update):
            return
        if (kept.run, kept.base_version) == (run, base_version):
            line, _, rest = self._path.read_bytes().partition(b"\n")
            head = _Head(**json.loads(line))
            parts = rest[: head.residual_bytes + head.private_bytes]
            durable.replace(self._path, [replace(head, base_digest="").line(), parts])

    def _read(self, path: Path, limits: Limits) -> None:
        """Take up what an earlier life kept; an update that is damaged is trained again."""
        line, _, rest = path.read_bytes().partition(b"\n")
        try:
            head = _Head(**json.loads(line))
            begin = head.residual_bytes + head.private_bytes
            self._run, self._residual = head.run, load(rest[: head.residual_bytes])
            self.private = load(rest[head.residual_bytes : begin])
        except (SafetensorError, TypeError, ValueError) as error:
            raise InvalidInputError(
                f"{path} is damaged ({error}); remove it to begin without what it held"
            ) from None
        self._update = _update(head.base_digest, rest[begin:], limits)


def restore_private(targets: Mapping[str, Tensor], kept: Mapping[str, Tensor]) -> None:
    """Copy kept private tensors into the network, in place.

    Those that no longer fit are left as they are.
    """
    with torch.no_grad():
        for name, tensor in kept.items():
            if name in targets and targets[name].shape == tensor.shape:
                targets[name].copy_(tensor)


@dataclass(frozen=True, slots=True)
class _Head:
    """The first line of the file, in JSON; behind it residual, private tensors, and the update."""

    run: str
    base_digest: str
    residual_bytes: int
    private_bytes: int

    def line(self) -> bytes:
        return json.dumps(asdict(self)).encode() + b"\n"


def _update(base_digest: str, body: bytes, limits: Limits) -> KeptUpdate | None:
    """Return the kept update, or None if it is not whole."""
    whole = memoryview(bytearray(body))
    try:
        decoded = decode(whole, kind=Update.KIND, limits=limits)
    except MalformedMessageError:
        return None
    encoded = Encoded(decoded.message, decoded.entries, whole.nbytes, (whole,))
    return KeptUpdate(base_digest, encoded)

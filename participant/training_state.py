"""The state of a participant: its last updates, private tensors, top-k's residual.

Without a state folder all of it is in memory, and a restart loses it.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from itertools import accumulate
from pathlib import Path

import torch
from blake3 import blake3
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from fanfold.participant import state_files
from fanfold.participant.sent_chunks import SentChunks
from fanfold.participant.version import Version
from fanfold.schemas.error_feedback import owed_again
from fanfold.schemas.errors import InvalidInputError, MalformedMessageError
from fanfold.schemas.message_codec import Encoded, decode
from fanfold.schemas.messages import Update, UpdateRefused
from fanfold.schemas.reader_limits import ReaderLimits

FILE = "last-training.fanfold"
KEPT_UPDATES = 4
"""With top-k: an update may be refused after the next ones were sent. Each is small."""


class TrainingState:
    """The last encoded update stays until a newer version is answered.

    The same version is never trained twice. With a folder, updates, residual and private tensors
    are in one file: after a crash they are all of the same training.

    An update is taken to count unless an answer says otherwise: the broker has it, and the answer
    to a refused one may be lost. Its deltas are added to the residual only if the answer says that
    it was too late. In any other case they could be sent twice.

    Args:
        folder: what an earlier process left there is read; None keeps everything in memory.
        limits: of a stored update.

    Raises:
        InvalidInputError: if what the folder holds is damaged.
        OSError: if it cannot be read.
    """

    def __init__(self, folder: Path | None, limits: ReaderLimits) -> None:
        self._path = None if folder is None else folder / FILE
        self._updates: list[Encoded] = []  # the oldest first
        self._run = ""
        self._residual: dict[str, Tensor] = {}
        self.private: dict[str, Tensor] = {}
        self.sent = SentChunks(folder)
        """What the broker has of the update that is being uploaded."""
        if self._path is not None and self._path.exists():
            self._read(self._path, limits)

    @property
    def is_durable(self) -> bool:
        """Whether what is kept outlives this process."""
        return self._path is not None

    @property
    def has_state(self) -> bool:
        """Whether it holds what the next training starts from, besides the version."""
        return bool(self._residual or self.private)

    @property
    def last_update(self) -> Update | None:
        """The message of the update that was kept last."""
        return _message(self._updates[-1]) if self._updates else None

    def answer_to(self, version: Version) -> Encoded | None:
        """Return the update that answered this very version, if it is kept."""
        kept = (each for each in self._updates if each.buffers)
        return next((each for each in kept if _message(each).base_digest == version.digest), None)

    def owed_to(self, run: str) -> Mapping[str, Tensor]:
        """Return what a lossy encoding left out of this run's updates so far, by tensor name."""
        return self._residual if run == self._run else {}

    def leave_last_update(self) -> None:
        """Let go of the bytes of the last update in memory: a newer version is trained on.

        For who is owed nothing: then that update is all that is kept. The folder has it until the
        training is done. What it was about is still known.
        """
        self._updates = [replace(each, buffers=()) for each in self._updates]

    def keep(
        self, encoded: Encoded, *, residual: Mapping[str, Tensor], private: Mapping[str, Tensor]
    ) -> None:
        """Keep an update, and what training left behind, before the update is published.

        Raises:
            OSError: if the disk refuses; what was kept before still is.
        """
        run = _message(encoded).run
        kept = [each for each in self._updates if each.buffers]
        earlier = kept[1 - KEPT_UPDATES :] if residual and run == self._run else []
        updates, owed = [*earlier, encoded], _contiguous(residual)
        self._write(run, owed, _contiguous(private), updates)
        self._updates, self._run, self._residual = updates, run, owed

    def refused(self, note: UpdateRefused) -> None:
        """Update the state after an update was not counted.

        The deltas of one that came too late are added to the residual, and it is forgotten: sent
        again, it could count twice. For one that was refused for its content the residual is
        dropped as well, because any part may be at fault. If another one could count, it is not
        kept for the next start either: by then data, code or settings may have been corrected.
        This process would train the same again.

        Raises:
            OSError: if the disk refuses; then the next start finds everything as it was before.
            InvalidInputError: if the file was damaged meanwhile.
        """
        refused = next((each for each in self._updates if _is_about(note, each)), None)
        if refused is None:
            return
        others = [each for each in self._updates if each is not refused]
        if note.fault == "age" and self._residual:
            self._residual = owed_again(self._residual, refused)
            self._updates = others
        elif note.fault == "content" and self._residual:
            self._residual = {}
        elif not note.again:
            return
        if self._path is not None:
            _, parts = _parts(self._path)
            kept = others if note.again else self._updates
            self._write(self._run, self._residual, load(parts[1]), kept)

    def _write(
        self,
        run: str,
        residual: dict[str, Tensor],
        private: dict[str, Tensor],
        updates: Sequence[Encoded],
    ) -> None:
        if self._path is None:
            return
        parts: list[Sequence[bytes | memoryview]] = [[save(residual)], [save(private)]]
        parts += [update.buffers for update in updates]
        lengths = [sum(memoryview(buffer).nbytes for buffer in part) for part in parts]
        buffers = [buffer for part in parts for buffer in part]
        head = _Head(run, lengths, _digest(run, lengths, buffers))
        state_files.replace(self._path, [head.line(), *buffers])

    def _read(self, path: Path, limits: ReaderLimits) -> None:
        head, parts = _parts(path)
        self._run = head.run
        try:
            self._residual, self.private = load(parts[0]), load(parts[1])
        except SafetensorError as error:
            raise _damaged(path, str(error)) from None
        updates = [_update(part, limits) for part in parts[2:]]
        self._updates = [update for update in updates if update is not None]


def forget_run(folder: Path) -> None:
    """Remove what only a run needed that is over; private tensors stay, for they are a model's.

    Raises:
        InvalidInputError: if the file is damaged.
        OSError: if the disk refuses.
    """
    path = folder / FILE
    if path.exists():
        head, parts = _parts(path)
        if load(parts[1]):
            lengths = [len(save({})), head.lengths[1]]
            buffers = [save({}), parts[1]]
            kept = _Head(head.run, lengths, _digest(head.run, lengths, buffers))
            state_files.replace(path, [kept.line(), *buffers])
        else:
            path.unlink()


def restore_private(targets: Mapping[str, Tensor], kept: Mapping[str, Tensor]) -> None:
    """Copy kept private tensors into the network, in place.

    Those that no longer fit are left as they are.
    """
    with torch.no_grad():
        for name, tensor in kept.items():
            if name in targets and targets[name].shape == tensor.shape:
                targets[name].copy_(tensor)


def _contiguous(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors as safetensors takes them: those of a channels-last network are not so."""
    return {name: tensor.cpu().contiguous() for name, tensor in tensors.items()}


@dataclass(frozen=True, slots=True)
class _Head:
    """The first line of the file, in JSON; the parts follow."""

    run: str
    lengths: list[int]
    """Bytes of the residual, of the private tensors, and of each update, the oldest first."""
    blake3: str = ""
    """The digest of the two above and all parts, so that a damaged update is not sent."""
    sha256: str = ""
    """In place of it in a file of a release whose protocol was 2."""

    def line(self) -> bytes:
        told = {name: value for name, value in asdict(self).items() if name != "sha256"}
        return json.dumps(told).encode() + b"\n"

    def is_of(self, parts: bytes) -> bool:
        if self.sha256:
            return sha256(_preface(self.run, self.lengths) + parts).hexdigest() == self.sha256
        return _digest(self.run, self.lengths, [parts]) == self.blake3


def _digest(run: str, lengths: Sequence[int], buffers: Iterable[bytes | memoryview]) -> str:
    digest = blake3(_preface(run, lengths))
    for buffer in buffers:
        digest.update(buffer)
    return digest.hexdigest()


def _preface(run: str, lengths: Sequence[int]) -> bytes:
    return json.dumps([run, *lengths]).encode()


def _parts(path: Path) -> tuple[_Head, list[bytes]]:
    line, _, rest = path.read_bytes().partition(b"\n")
    try:
        head = _Head(**json.loads(line))
        is_whole = head.is_of(rest)
    except (TypeError, ValueError) as error:
        raise _damaged(path, str(error)) from None
    if not is_whole:
        raise _damaged(path, "its checksum is another")
    ends = accumulate(head.lengths)
    return head, [rest[end - size : end] for end, size in zip(ends, head.lengths, strict=True)]


def _damaged(path: Path, how: str) -> InvalidInputError:
    return InvalidInputError(
        f"{path} is damaged, or of an older release ({how}); remove it to begin without the last "
        "update, the private tensors and what top-k still owes"
    )


def _update(body: bytes, limits: ReaderLimits) -> Encoded | None:
    """Return a kept update, or None if it is one of another protocol or a larger network."""
    whole = memoryview(bytearray(body))
    try:
        decoded = decode(whole, kind=Update.KIND, limits=limits)
    except MalformedMessageError:
        return None
    return Encoded(decoded.message, decoded.entries, whole.nbytes, (whole,))


def _message(encoded: Encoded) -> Update:
    assert isinstance(encoded.message, Update)  # nothing else is kept
    return encoded.message


def _is_about(note: UpdateRefused, encoded: Encoded) -> bool:
    message = _message(encoded)
    return (message.run, message.base_version) == (note.run, note.base_version)

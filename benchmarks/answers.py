"""Updates of participants that do not train: as large as a trained one, and made at once."""

import numpy as np

from fanfold.participant.version import Version
from fanfold.schemas.message_codec import Decoded, Encoded, TensorBytes, encode
from fanfold.schemas.messages import Update

NUM_EXAMPLES = 10


class Answers:
    """Makes answers that share one block of small values: many participants share memory."""

    def __init__(self) -> None:
        """Know no model yet."""
        self._deltas: list[TensorBytes] = []

    def to(self, version: Version, participant: str) -> Encoded:
        """Return the answer of a participant to a whole version; all are of the same model."""
        if not self._deltas:
            assert version.assembly is not None  # the receiver returns whole versions only
            self._deltas = _small_deltas(version.assembly.decode())
        update = Update(
            run=version.run,
            participant=participant,
            base_version=version.number,
            base_digest=version.digest,
            num_examples=NUM_EXAMPLES,
        )
        return encode(update, self._deltas)


def _small_deltas(decoded: Decoded) -> list[TensorBytes]:
    largest = max(entry.end - entry.begin for entry in decoded.entries)
    block = memoryview(np.full(largest // 4, 1e-6, np.float32)).cast("B")
    return [
        TensorBytes(
            name=entry.name,
            dtype=entry.dtype,
            shape=entry.shape,
            kind="delta",
            encoding="raw",
            data=block[: entry.end - entry.begin],
        )
        for entry in decoded.entries
    ]

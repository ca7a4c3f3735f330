"""Updates of participants that do not train: as large as a trained one, and made at once."""

from zlib import crc32

import numpy as np
import numpy.typing as npt

from fanfold.participant.version import Version
from fanfold.schemas.message_codec import Decoded, Encoded, TensorBytes, encode
from fanfold.schemas.messages import FixedPlan, GlobalParameters, Update

NUM_EXAMPLES = 10
NUM_DIFFERENT = 16
"""In fixed point participants answer with one of so many integers: who is missing is seen."""


class Answers:
    """Makes answers that share blocks of small values: many participants share memory."""

    def __init__(self) -> None:
        """Know no model yet."""
        self._deltas: dict[int, list[TensorBytes]] = {}

    def to(self, version: Version, participant: str) -> Encoded:
        """Return the answer of a participant to a whole version; all are of the same model."""
        place = crc32(participant.encode()) % NUM_DIFFERENT
        if place not in self._deltas:
            assert version.assembly is not None  # the receiver returns whole versions only
            decoded = version.assembly.decode()
            assert isinstance(decoded.message, GlobalParameters)
            self._keep(decoded, decoded.message.fixed)
        update = Update(
            run=version.run,
            participant=participant,
            base_version=version.number,
            base_digest=version.digest,
            num_examples=NUM_EXAMPLES,
        )
        return encode(update, self._deltas[place])

    def _keep(self, decoded: Decoded, plan: FixedPlan | None) -> None:
        if plan is None:
            deltas = _filled(decoded, np.float32(1e-6))
            self._deltas = dict.fromkeys(range(NUM_DIFFERENT), deltas)
            return
        assert plan.examples == 1  # weights would be a tensor more
        self._deltas = {
            place: _filled(decoded, np.int32(1 + place)) for place in range(NUM_DIFFERENT)
        }


def _filled(decoded: Decoded, value: np.generic) -> list[TensorBytes]:
    """Return deltas of one value for every tensor of a version of float32."""
    largest = max(entry.end - entry.begin for entry in decoded.entries)
    block: npt.NDArray[np.generic] = np.full(largest // value.nbytes, value)
    data = memoryview(block).cast("B")
    return [
        TensorBytes(
            name=entry.name,
            dtype=str(block.dtype),
            shape=entry.shape,
            kind="delta",
            encoding="raw",
            data=data[: entry.end - entry.begin],
        )
        for entry in decoded.entries
    ]

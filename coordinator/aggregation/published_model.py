"""The model that participants train on, where versions travel as differences."""

from collections.abc import Mapping

from torch import Tensor

from fanfold.coordinator.aggregation.run_state import RunState
from fanfold.schemas.chunking import DEFAULT_CHUNK_BYTES
from fanfold.schemas.difference_message import GlobalDifference
from fanfold.schemas.encodings import difference_encoding
from fanfold.schemas.message_codec import Encoded
from fanfold.schemas.messages import GlobalParameters
from fanfold.schemas.version_difference import make_difference, whole_digest


class PublishedModel:
    """P_v of `version_difference`, as plain state: the run's own model W_v is another one.

    Args:
        run: at the version from which differences begin: P_v = W_v there.
        encoding: as in `--encoding-down`, `difference:int8` for instance.
        chunk_bytes: bytes of the chunks in which versions travel.
    """

    def __init__(
        self,
        run: RunState,
        encoding: str,
        *,
        chunk_bytes: int = DEFAULT_CHUNK_BYTES,
    ) -> None:
        self.tensors = {name: tensor.clone() for name, tensor in run.tensors.items()}
        """P_v by name. Each version has new tensors: those of earlier ones do not change."""
        self.version = run.version
        """v."""
        self.encoding = encoding
        self._kinds = run.kinds
        self._chunk_bytes = chunk_bytes
        self._digest = ""

    @classmethod
    def wanted(
        cls, run: RunState, encoding: str, *, chunk_bytes: int = DEFAULT_CHUNK_BYTES
    ) -> "PublishedModel | None":
        """Return the published model of a run; None where versions travel whole."""
        if difference_encoding(encoding) is None:
            return None
        return cls(run, encoding, chunk_bytes=chunk_bytes)

    def publish(self, message: GlobalParameters, model: Mapping[str, Tensor]) -> Encoded | None:
        """Make the version that a message announces, and return its difference to the one before.

        Args:
            message: of the version that is to be published.
            model: W_v by name.

        Returns:
            The difference; None where this version was made before, as after a restart: then it
            travels whole alone.
        """
        if message.version == self.version:
            self._digest = whole_digest(
                message, self.tensors, kinds=self._kinds, chunk_bytes=self._chunk_bytes
            )
            return None
        is_held = bool(self._digest)  # or a coordinator was stopped between two versions
        difference, self.tensors = make_difference(
            message,
            model,
            self.tensors,
            base_digest=self._digest or "0" * 64,
            kinds=self._kinds,
            encoding=self.encoding,
            chunk_bytes=self._chunk_bytes,
        )
        assert isinstance(difference.message, GlobalDifference)
        self.version, self._digest = message.version, difference.message.digest
        return difference if is_held else None

    def restore(self, version: int | None, held: Mapping[str, Tensor], run: RunState) -> None:
        """Take back what a checkpoint holds; where it holds nothing, begin with its model.

        Args:
            version: v; None where versions travelled otherwise until now.
            held: P_v by name.
            run: as it was restored.
        """
        self.version, self._digest = run.version if version is None else version, ""
        source = run.tensors if version is None else held
        self.tensors = {name: tensor.clone() for name, tensor in source.items()}

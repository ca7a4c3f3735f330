"""The model that participants train on, where versions travel as differences."""

from collections.abc import Mapping

from torch import Tensor

from fanfold.coordinator.aggregation.run_state import RunState
from fanfold.schemas.encodings import difference_encoding
from fanfold.schemas.message_codec import Encoded
from fanfold.schemas.messages import GlobalParameters
from fanfold.schemas.version_difference import Difference, make_difference


class PublishedModel:
    """P_v of `version_difference`, as plain state: the run's own model W_v is another one.

    Args:
        run: at the version from which differences begin: P_v = W_v there.
        encoding: as in `--encoding-down`, `difference:int8` for instance.
    """

    def __init__(self, run: RunState, encoding: str) -> None:
        self.tensors = {name: tensor.clone() for name, tensor in run.tensors.items()}
        """P_v by name. Each version has new tensors: those of earlier ones do not change."""
        self.version = run.version
        """v."""
        self.encoding = encoding
        self._kinds = run.kinds
        self._digest = ""
        """Of the version that was named last; none after a restart."""
        self._difference: Difference | None = None
        """Between that version and this one, until this one is named."""

    @classmethod
    def wanted(cls, run: RunState, encoding: str) -> "PublishedModel | None":
        """Return the published model of a run; None where versions travel whole."""
        return None if difference_encoding(encoding) is None else cls(run, encoding)

    def publish(self, message: GlobalParameters, model: Mapping[str, Tensor]) -> None:
        """Make the version that a message announces, unless it was made before, as after a restart.

        Args:
            message: of the version that is to be published.
            model: W_v by name.
        """
        if message.version == self.version:
            return
        self._difference = make_difference(
            message, model, self.tensors, kinds=self._kinds, encoding=self.encoding
        )
        self.version, self.tensors = message.version, self._difference.sums

    def named(self, digest: str) -> Encoded | None:
        """Take note of the digest under which this version travels whole.

        Returns:
            Its difference to the one before; None where this process has not published that: then
            the version travels whole alone.
        """
        base, self._digest = self._digest, digest
        difference, self._difference = self._difference, None
        return difference.named(base=base, digest=digest) if difference and base else None

    def restore(self, version: int | None, held: Mapping[str, Tensor], run: RunState) -> None:
        """Take back what a checkpoint holds; where it holds nothing, begin with its model.

        A checkpoint has an order of its own, and a version keeps the one it was published in: else
        it would have another digest.

        Args:
            version: v; None where versions travelled otherwise until now.
            held: P_v by name.
            run: as it was restored.
        """
        self.version, self._digest = run.version if version is None else version, ""
        source = run.tensors if version is None else held
        self.tensors = {name: source[name].clone() for name in run.tensors}

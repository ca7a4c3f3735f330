"""The message that carries a version as its difference to the one before."""

from typing import ClassVar

from fanfold.schemas.messages import Count, Digest, GlobalParameters, Identifier, Message
from fanfold.schemas.tensor_table import Carried


class GlobalDifference(Message):
    """Coordinator to those who answered the version before: add this to it, and train on the sum.

    Rows in a lossy encoding are differences; rows that travel raw are the new values themselves.
    """

    KIND: ClassVar[str] = "GlobalDifference"
    TENSORS: ClassVar[Carried] = "changes"
    run: Identifier
    version: Count
    base: Digest
    """The digest of the GlobalParameters message to which it is the difference."""
    digest: Digest
    """The digest of the GlobalParameters message of this version: an update names that."""
    sha256: Digest
    """The hash of the sums, as `parameters_sha256` has it."""
    becomes: GlobalParameters
    """The fields of that message; its tensors are the sums."""

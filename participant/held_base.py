"""The version that a participant holds, to which the next one may come as a difference."""

from collections.abc import Mapping

from torch import Tensor

from fanfold.participant.version import Version
from fanfold.participant.worker_events import BaseNotHeldError
from fanfold.schemas.difference_message import GlobalDifference
from fanfold.schemas.errors import MalformedMessageError
from fanfold.schemas.messages import GlobalParameters
from fanfold.schemas.tensor_codec import decode_tensors
from fanfold.schemas.version_difference import read_difference


class HeldBase:
    """The tensors of the version that was read last. Belongs to the worker's thread.

    They are kept only where the coordinator says that differences to them may follow, and in
    memory alone: after a restart the next version is asked for whole.
    """

    def __init__(self) -> None:
        """Hold nothing yet."""
        self._digest = ""
        self._tensors: Mapping[str, Tensor] = {}

    def read(
        self, version: Version, *, room: Mapping[str, Tensor] | None = None
    ) -> tuple[GlobalParameters, Mapping[str, Tensor]]:
        """Return a version that is whole, or whose base is held, and hold it if it is to be kept.

        Args:
            version: with its bytes.
            room: tensors that nobody needs any more, by name. The version may take their memory,
                where nobody needs it itself once it is trained on.

        Raises:
            BaseNotHeldError: if it is the difference to another version, or does not become what it
                says: then nothing of it is used.
            MalformedMessageError: if a whole version is damaged.
        """
        if version.assembly is None:
            raise ValueError("a version without its bytes cannot be trained on")
        if version.assembly.identity.kind != GlobalDifference.KIND:
            decoded = version.assembly.decode()
            message = decoded.message
            assert isinstance(message, GlobalParameters)  # the receiver holds nothing else
            is_needed = message.keep or message.privacy is not None or message.fixed is not None
            tensors: Mapping[str, Tensor] = decode_tensors(
                decoded, room=None if is_needed else room
            )
        else:
            try:
                decoded = version.assembly.decode()
                assert isinstance(decoded.message, GlobalDifference)
                if decoded.message.base != self._digest:
                    raise BaseNotHeldError("it changes a version that is not held here")
                message, tensors = read_difference(decoded, self._tensors)
            except MalformedMessageError as error:
                raise BaseNotHeldError(str(error)) from error
        self._digest, self._tensors = (version.digest, tensors) if message.keep else ("", {})
        return message, tensors


def name_difference(version: Version) -> None:
    """Give a version that came as a difference the name that its update has to name it by.

    Raises:
        BaseNotHeldError: if it cannot be read.
    """
    if version.assembly is None or version.assembly.identity.kind != GlobalDifference.KIND:
        return
    try:
        message = version.assembly.decode().message
    except MalformedMessageError as error:
        raise BaseNotHeldError(str(error)) from error
    assert isinstance(message, GlobalDifference)  # as its kind says
    version.digest = message.digest

"""What the publisher has to send, and what becomes of it."""

from dataclasses import dataclass

from fanfold.coordinator.broker.encoded_version import EncodedVersion
from fanfold.transport import Delivery


@dataclass(frozen=True, slots=True)
class Sending:
    """Something that is on its way: a version or something small, to one or to everybody."""

    encoded_version: EncodedVersion | None = None
    to: tuple[str, ...] = ()
    """Participants, or none for everybody."""
    letter: Delivery | None = None
    """The malformed message that is put aside, without its body."""

    @property
    def is_awaited(self) -> bool:
        """Whether a round waits for it: not for what one sender can have sent at will."""
        return self.encoded_version is not None or (not self.to and self.letter is None)


@dataclass(frozen=True, slots=True)
class Sent:
    """An event: something was sent, or could not be."""

    sending: Sending
    error: BaseException | None = None

"""What the headers of a sealed message say beside those of any other.

Sealing itself is in `sealing/`; a reader of headers, such as `fanfold status`, needs none of it.
"""

from dataclasses import dataclass

SIGNATURE_BYTES = 64


@dataclass(frozen=True, slots=True)
class Seal:
    """Who vouches for a message, and which one it is among its sender's.

    Not part of the message: a version that is sent again in another epoch is signed anew and is
    still the same.
    """

    signature: bytes
    """Ed25519, of the sender: see `sealing/statement.py`."""
    serial: int = 0
    """Grows with each event, answer and table of keys of one sender; 0 for updates."""
    content: str | None = None
    """Of what is for everybody: names the message inside, whoever may open it. 64 hex digits."""

    def headers(self) -> dict[str, str | int]:
        """Return the AMQP headers that say this."""
        return {
            "signature": self.signature.hex(),
            "serial": self.serial,
            **({} if self.content is None else {"content": self.content}),
        }

"""The AMQP headers of one chunk, and the checks on them."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Self

from fanfold.schemas.errors import MalformedMessageError, UnsupportedProtocolError
from fanfold.schemas.message_kinds import MESSAGES
from fanfold.schemas.messages import PROTOCOL, Message
from fanfold.schemas.names import is_identifier
from fanfold.schemas.reader_limits import ReaderLimits
from fanfold.schemas.seal import SIGNATURE_BYTES, Seal

MIN_CHUNK_BYTES = 1024
"""Below this, the headers of a chunk would take more than its body."""
MAX_CHUNK_BYTES = 16 * 1024 * 1024 - 1
"""RabbitMQ 4 refuses bodies from 16 MiB on."""
MAX_CHUNKS = 65_535
"""A reader leaves a whole version unacknowledged, and AMQP counts what may be so in 16 bits."""

DIGEST_BYTES = 32
_MAX_LABEL_CHARACTERS = 64
_MAX_COUNT = 2**53


@dataclass(frozen=True, slots=True)
class Labels:
    """The fields of a message that its headers repeat; None where a message has no such field.

    `Assembly.decode` refuses a message whose fields differ from its labels.
    """

    run: str | None = None
    version: int | None = None
    """The version that is sent, held or, for an update, was trained on."""
    participant: str | None = None
    examples: int | None = None

    @classmethod
    def of(cls, message: Message) -> Self:
        """Return the labels of `message`."""
        fields = vars(message)  # as they are: `model_dump` would go through all of the message
        return cls(
            run=fields.get("run"),
            version=fields.get("version", fields.get("base_version")),
            participant=fields.get("participant"),
            examples=fields.get("num_examples"),
        )

    def sealed(self) -> Self:
        """Return those that a sealed message shows: not how many examples somebody has."""
        return replace(self, examples=None)

    def headers(self) -> dict[str, str | int]:
        """Return the labels that are set, by the names of the AMQP headers."""
        everything = {
            "run": self.run,
            "version": self.version,
            "participant": self.participant,
            "examples": self.examples,
        }
        return {name: value for name, value in everything.items() if value is not None}


@dataclass(frozen=True, slots=True)
class WholeMessage:
    """The message that a chunk belongs to: equal for all its chunks, and for those of no other."""

    kind: str
    """As in `MESSAGES`."""
    digest: str
    """BLAKE3 over the chunks' raw BLAKE3 digests, in order; 64 hex digits."""
    count: int
    """Chunks in the message."""
    chunk_bytes: int
    """Bytes in each chunk but the last."""
    num_bytes: int
    """Bytes in the message."""
    labels: Labels
    """The fields of the message that its headers repeat."""


@dataclass(frozen=True, slots=True)
class ChunkHeader:
    """The checked headers of one chunk: its message, and its place there."""

    whole: WholeMessage
    index: int
    """The number of this chunk, counted from 0."""
    chunk_digest: bytes
    """The BLAKE3 that this chunk's body must have, raw."""
    epoch: int | None = None
    """Raised by every start of a coordinator; newer is (epoch, version).

    Not part of the message: one that is sent again in another epoch is still the same.
    """
    seal: Seal | None = None
    """Of a sealed message; None of one in clear."""

    @property
    def content(self) -> str:
        """What an update names as the version it was trained on: the same for all who open it."""
        return (self.seal and self.seal.content) or self.whole.digest

    @property
    def kind(self) -> str:
        """The kind of the message."""
        return self.whole.kind

    @property
    def labels(self) -> Labels:
        """The fields of the message that its headers repeat."""
        return self.whole.labels

    @property
    def offset(self) -> int:
        """Where the chunk begins in the message, in bytes."""
        return self.index * self.whole.chunk_bytes

    @property
    def length(self) -> int:
        """Bytes in the chunk."""
        return min(self.whole.chunk_bytes, self.whole.num_bytes - self.offset)

    @property
    def message_id(self) -> str:
        """The AMQP property for people: `run/version/sender/kind/i-of-n`, with i from 1."""
        parts = [
            self.labels.run,
            None if self.labels.version is None else f"v{self.labels.version}",
            self.labels.participant or "coordinator",
            self.kind,
            f"{self.index + 1}-of-{self.whole.count}",
        ]
        return "/".join(part for part in parts if part is not None)

    def headers(self) -> dict[str, str | int]:
        """Return the AMQP headers that say this."""
        return {
            "protocol": PROTOCOL,
            "digest": self.whole.digest,
            "chunk": self.index,
            "chunks": self.whole.count,
            "chunk_bytes": self.whole.chunk_bytes,
            "bytes": self.whole.num_bytes,
            "chunk_blake3": self.chunk_digest.hex(),
            **self.labels.headers(),
            **({} if self.epoch is None else {"epoch": self.epoch}),
            **({} if self.seal is None else self.seal.headers()),
        }

    @classmethod
    def parse(
        cls,
        kind: str | None,
        headers: Mapping[str, object] | None,
        body_length: int,
        limits: ReaderLimits,
    ) -> Self:
        """Return the place of a chunk from its AMQP properties `type` and `headers`.

        Headers with other names are ignored, because brokers and plugins add their own, and so is
        the message id, which is for people.

        Raises:
            UnsupportedProtocolError: if they name another protocol number.
            MalformedMessageError: if they are not the headers of a chunk of this length, or the
                message they announce is larger than the limits.
        """
        if kind not in MESSAGES:
            raise MalformedMessageError(f"unknown kind of message {str(kind)[:64]!r}")
        read = _Headers(headers or {})
        protocol = read.number("protocol", 0, _MAX_COUNT)
        if protocol != PROTOCOL:
            raise UnsupportedProtocolError(protocol, PROTOCOL)
        whole = WholeMessage(
            kind=kind,
            digest=read.digest("digest").hex(),
            count=read.number("chunks", 1, MAX_CHUNKS),
            chunk_bytes=read.number("chunk_bytes", MIN_CHUNK_BYTES, MAX_CHUNK_BYTES),
            num_bytes=read.number("bytes", 1, limits.max_bytes),
            labels=read.labels(),
        )
        if whole.count != -(-whole.num_bytes // whole.chunk_bytes):
            raise MalformedMessageError(
                f"{whole.num_bytes} bytes in chunks of {whole.chunk_bytes} are not "
                f"{whole.count} chunks"
            )
        if whole.count > 1 and whole.chunk_bytes < limits.least_chunk_bytes:
            raise MalformedMessageError(
                f"the message comes in {whole.count} chunks of {whole.chunk_bytes} bytes, this "
                f"reader takes chunks of {limits.least_chunk_bytes} or more"
            )
        index = read.number("chunk", 0, whole.count - 1)
        digest, epoch = read.digest("chunk_blake3"), read.optional_number("epoch")
        header = cls(whole, index, digest, epoch, read.seal())
        if body_length != header.length:
            raise MalformedMessageError(
                f"chunk {header.index} has {body_length} bytes, its place is for {header.length}"
            )
        return header


class _Headers:
    """Headers from the network, read one by one with their exact types."""

    def __init__(self, headers: Mapping[str, object]) -> None:
        self._headers = headers

    def number(self, name: str, least: int, most: int) -> int:
        value = self._headers.get(name)
        # bool is a subclass of int and refused; pika's `long`, for more than 32 bits, is accepted.
        if not isinstance(value, int) or isinstance(value, bool):
            raise MalformedMessageError(f"header {name!r} is not an integer")
        if not least <= value <= most:
            raise MalformedMessageError(f"header {name!r} is {value}, not {least} to {most}")
        return int(value)

    def text(self, name: str) -> str:
        value = self._headers.get(name)
        if not isinstance(value, str) or len(value) > _MAX_LABEL_CHARACTERS:
            raise MalformedMessageError(
                f"header {name!r} is not text of at most {_MAX_LABEL_CHARACTERS} characters"
            )
        return value

    def digest(self, name: str) -> bytes:
        digest = _of_hex(self.text(name), DIGEST_BYTES)
        if digest is None:
            raise MalformedMessageError(f"header {name!r} is not a digest in lower-case hex")
        return digest

    def seal(self) -> Seal | None:
        if "signature" not in self._headers:
            return None
        signature = _of_hex(self._headers["signature"], SIGNATURE_BYTES)
        if signature is None:
            raise MalformedMessageError("header 'signature' is not 64 bytes in lower-case hex")
        content = self.digest("content").hex() if "content" in self._headers else None
        return Seal(signature, self.number("serial", 0, _MAX_COUNT), content)

    def optional_number(self, name: str) -> int | None:
        return self.number(name, 0, _MAX_COUNT) if name in self._headers else None

    def optional_identifier(self, name: str) -> str | None:
        if name not in self._headers:
            return None
        value = self.text(name)
        if not is_identifier(value):  # it becomes part of routing keys, file names and log lines
            raise MalformedMessageError(f"header {name!r} is not an identifier")
        return value

    def labels(self) -> Labels:
        return Labels(
            run=self.optional_identifier("run"),
            version=self.optional_number("version"),
            participant=self.optional_identifier("participant"),
            examples=self.optional_number("examples"),
        )


def _of_hex(text: object, num_bytes: int) -> bytes | None:
    """Return the bytes that a text spells in lower-case hex; None if it spells no so many."""
    if not isinstance(text, str) or len(text) != 2 * num_bytes:
        return None
    try:
        found = bytes.fromhex(text)
    except ValueError:
        return None
    return found if found.hex() == text else None  # fromhex() takes spaces and capitals

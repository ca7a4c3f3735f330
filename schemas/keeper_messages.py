"""What a coordinator and the keepers of masks say to each other; see `docs/protocol.md`."""

from collections.abc import Sequence
from typing import Annotated, ClassVar

from pydantic import Field

from fanfold.schemas.errors import InvalidInputError
from fanfold.schemas.messages import (
    Count,
    Digest,
    Document,
    Identifier,
    MaskSeeds,
    Message,
    Signature,
    Text,
)
from fanfold.schemas.tensor_table import Carried

KEEPER_COUNTS = (1, 3)
"""So many keepers a run may have."""
Place = Annotated[int, Field(ge=0, le=2)]
"""Of a keeper, or of a seed, counted from 0."""


def check_keepers(named: Sequence[object]) -> None:
    """Refuse a number of keepers that does not work.

    Raises:
        InvalidInputError: if there are neither none, nor one, nor three.
    """
    if len(named) not in (0, *KEEPER_COUNTS):
        raise InvalidInputError(
            f"--masks names {len(named)} keepers; name one, or three of which one may be down"
        )


class Member(Document):
    """One update of a set."""

    participant: Identifier
    base_version: Count
    seeds: MaskSeeds


class Approval(Document):
    """The word of a keeper that the members of a set belong to this set alone."""

    keeper: Place
    signature: Signature


class MasksWanted(Message):
    """Coordinator to a keeper: approve this set, or send the sum of its masks."""

    KIND: ClassVar[str] = "MasksWanted"
    run: Identifier
    version: Count
    """The one that the round began with."""
    words: Annotated[int, Field(ge=1, le=2**40)]
    """In each mask."""
    members: Annotated[list[Member], Field(min_length=1, max_length=100_000)]
    """In order of the participants' ids."""
    seeds: Annotated[tuple[Place, ...], Field(max_length=2, strict=False)] = ()
    """Whose masks are to be summed; empty asks for approval alone."""
    approvals: Annotated[tuple[Approval, ...], Field(max_length=3, strict=False)] = ()


class SetApproved(Message):
    """A keeper to the coordinator: these updates belong to this set, and to no other."""

    KIND: ClassVar[str] = "SetApproved"
    run: Identifier
    version: Count
    keeper: Place
    set_digest: Digest
    signature: Signature


class Masks(Message):
    """A keeper to the coordinator: the sum of the masks of a set, as the tensor `masks`."""

    KIND: ClassVar[str] = "Masks"
    TENSORS: ClassVar[Carried] = "values"
    run: Identifier
    version: Count
    keeper: Place
    set_digest: Digest
    seeds: Annotated[list[Place], Field(min_length=1, max_length=2)]
    """Whose masks were summed."""
    blake3: Digest
    """Of the tensor's bytes."""
    signature: Signature


class MasksRefused(Message):
    """A keeper to the coordinator: nothing is told of this set, and why."""

    KIND: ClassVar[str] = "MasksRefused"
    run: Identifier
    version: Count
    keeper: Place
    set_digest: Digest
    reason: Text
    signature: Signature

"""Facts about the inputs that the fuzzer begins with."""

from pathlib import Path

import fuzz_target
import pytest

from fanfold.schemas.errors import MalformedMessageError
from fanfold.schemas.message_codec import decode
from fanfold.schemas.message_kinds import MESSAGES

KEPT = [path.read_bytes() for path in (Path(__file__).parents[1] / "fuzz" / "corpus").iterdir()]
BODIES = [data[1:] for data in KEPT if data[:1] <= b"\x7f"]
"""The others are changed headers."""


def refusals(body: bytes) -> dict[str, str]:
    """Why it is no message of each kind; a kind that it is one of is missing."""
    found = {}
    for kind in MESSAGES:
        try:
            decode(memoryview(body), kind=kind, limits=fuzz_target.LIMITS)
        except MalformedMessageError as refusal:
            found[kind] = str(refusal)
    return found


def test_the_kept_messages_speak_todays_protocol() -> None:
    """All but those that try another number: what is refused at once explores nothing."""
    of_another = [body for body in BODIES if "protocol" in next(iter(refusals(body).values()), "")]
    assert len(of_another) <= len(BODIES) // 10


@pytest.mark.parametrize("kind", ["Update", "GlobalParameters", "Hello"])
def test_messages_of_a_kind_are_among_them(kind: str) -> None:
    assert any(kind not in refusals(body) for body in BODIES)


def test_changed_headers_are_among_them() -> None:
    assert len(KEPT) - len(BODIES) >= 10

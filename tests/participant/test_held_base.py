"""A difference is applied to the very version that it names, or not at all."""

from typing import Any

import pytest
import torch
from torch import Tensor

from fanfold.participant.held_base import HeldBase, name_difference
from fanfold.participant.version import Version
from fanfold.participant.worker_events import BaseNotHeldError
from fanfold.schemas.chunking import Assembly, cut
from fanfold.schemas.difference_message import GlobalDifference
from fanfold.schemas.message_codec import Encoded, encode
from fanfold.schemas.messages import FixedPlan, GlobalParameters, PrivacyPlan, TrainingPlan
from fanfold.schemas.reader_limits import ReaderLimits
from fanfold.schemas.tensor_codec import encode_tensors, tensor_bytes
from fanfold.schemas.tensor_table import Kind
from fanfold.schemas.version_difference import make_difference

LIMITS = ReaderLimits(max_bytes=1 << 20)
KINDS: dict[str, Kind] = {"w": "delta"}
FIRST = {"w": torch.linspace(-1, 1, 600)}


def announced(number: int) -> GlobalParameters:
    return GlobalParameters(run="run", version=number, rounds=9, plan=TrainingPlan(), keep=True)


def received(encoded: Encoded) -> Version:
    """Return a message as the service hands it to the worker."""
    chunks = cut(encoded)
    assembly = Assembly(chunks[0].header, LIMITS)
    for chunk in chunks:
        assembly.add(chunk.header, chunk.body)
    header = chunks[0].header
    return Version("run", 1, header.labels.version or 0, header.content, len(chunks), assembly)


def first() -> Version:
    return received(encode_tensors(announced(0), FIRST, kinds=KINDS))


def second(**changed: Any) -> tuple[Version, dict[str, Tensor]]:
    """Return version 1 as a difference, some of its fields changed, and its tensors."""
    tensors = {"w": torch.linspace(1, -1, 600)}
    made = make_difference(announced(1), tensors, FIRST, kinds=KINDS, encoding="difference:int8")
    whole = received(encode_tensors(announced(1), made.sums, kinds=KINDS))
    encoded, sums = made.named(base=first().digest, digest=whole.digest), made.sums
    if changed:
        delta = {"w": sums["w"] - FIRST["w"]}
        rows = tensor_bytes(encoded.message, delta, kinds=KINDS, encoding="int8")
        encoded = encode(encoded.message.model_copy(update=changed), rows)
    return received(encoded), sums


def test_a_difference_to_the_version_held_becomes_the_next_one() -> None:
    base = HeldBase()
    base.read(first())
    version, sums = second()
    name_difference(version)
    message, tensors = base.read(version)
    assert message == announced(1)
    assert torch.equal(tensors["w"], sums["w"])


def test_its_name_is_that_of_the_whole_version() -> None:
    """So an update of it says the same, whichever form came."""
    version, sums = second()
    came_under = version.digest
    name_difference(version)
    whole = received(encode_tensors(announced(1), sums, kinds=KINDS))
    assert version.digest == whole.digest != came_under


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"base": "1" * 64}, "it changes a version that is not held here"),
        ({"sha256": "1" * 64}, "does not become what its hash says"),
        ({"becomes": announced(2)}, "becomes a version that its headers do not name"),
        ({"becomes": announced(1).model_copy(update={"run": "other"})}, "headers do not name"),
    ],
)
def test_another_difference_is_not_applied_and_the_version_held_stays(
    changed: dict[str, Any], reason: str
) -> None:
    """The right one still can be, after that."""
    base = HeldBase()
    base.read(first())
    wrong, sums = second(**changed)
    with pytest.raises(BaseNotHeldError, match=reason):
        base.read(wrong)
    right, _ = second()
    name_difference(right)
    assert torch.equal(base.read(right)[1]["w"], sums["w"])


def test_nothing_is_held_after_a_start() -> None:
    with pytest.raises(BaseNotHeldError, match="not held here"):
        HeldBase().read(second()[0])


def test_a_version_that_nothing_will_change_is_not_held() -> None:
    """Where versions travel whole, none is kept in memory after its training."""
    base = HeldBase()
    message = announced(0).model_copy(update={"keep": False})
    base.read(received(encode_tensors(message, FIRST, kinds=KINDS)))
    assert base._tensors == {}


@pytest.mark.parametrize("column", ["float64", "more"])
def test_a_difference_of_another_network_is_not_applied(column: str) -> None:
    """Of other dtypes, or with tensors that are not there."""
    base = HeldBase()
    base.read(first())
    tensors = {"w": torch.ones(600).double()} if column == "float64" else {"v": torch.ones(600)}
    message = second()[0]
    assert message.assembly is not None
    document = message.assembly.decode().message
    assert isinstance(document, GlobalDifference)
    kinds: dict[str, Kind] = dict.fromkeys(tensors, "delta")
    rows = tensor_bytes(document, tensors, kinds=kinds, encoding="int8")
    with pytest.raises(BaseNotHeldError, match=r"another dtype or shape|other tensors"):
        base.read(received(encode(document, rows)))


def test_a_damaged_header_document_is_told() -> None:
    """Its kind says difference, and nothing in it can be read."""
    version, _ = second()
    assert version.assembly is not None
    version.assembly.whole()[8:40] = bytes(32)
    with pytest.raises(BaseNotHeldError, match="header"):
        name_difference(version)


def narrow(**changed: Any) -> Version:
    message = announced(0).model_copy(update={"keep": False} | changed)
    return received(encode_tensors(message, FIRST, kinds=KINDS, encoding="bfloat16"))


def test_a_version_for_training_alone_takes_the_memory_of_the_last_update() -> None:
    room = {"w": torch.zeros(600)}
    _, tensors = HeldBase().read(narrow(), room=room)
    assert tensors["w"] is room["w"]
    assert torch.equal(tensors["w"], FIRST["w"].bfloat16().float())


@pytest.mark.parametrize(
    "changed",
    [
        {"keep": True},
        {"privacy": PrivacyPlan(clip=1.0, noise=1.0, at="participant")},
        {"fixed": FixedPlan(bits=8, clip=1.0, largest=9)},
    ],
)
def test_a_version_that_is_needed_afterwards_does_not(changed: dict[str, Any]) -> None:
    """The update is written over what lies there."""
    room = {"w": torch.zeros(600)}
    _, tensors = HeldBase().read(narrow(**changed), room=room)
    assert not room["w"].any()
    assert torch.equal(tensors["w"], FIRST["w"].bfloat16().float())


@pytest.mark.parametrize("other", [torch.zeros(599), torch.zeros(600, dtype=torch.float64)])
def test_memory_that_does_not_fit_is_left_alone(other: Tensor) -> None:
    _, tensors = HeldBase().read(narrow(), room={"w": other})
    assert not other.any()
    assert torch.equal(tensors["w"], FIRST["w"].bfloat16().float())

"""Versions as differences: both ends agree to the last bit, and no error accumulates."""

from collections.abc import Mapping

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from fanfold.schemas.encodings import BLOCK_VALUES, difference_encoding
from fanfold.schemas.errors import InvalidInputError, MalformedMessageError
from fanfold.schemas.message_codec import Decoded, Encoded, decode
from fanfold.schemas.messages import GlobalParameters, TrainingPlan
from fanfold.schemas.reader_limits import ReaderLimits
from fanfold.schemas.tensor_table import Kind
from fanfold.schemas.version_difference import make_difference, read_difference

ENCODINGS = ["difference:int8", "difference:topk:0.1", "difference:topk:0.1+int8"]
ALL = [*ENCODINGS, "difference:float16", "difference:bfloat16"]
KINDS: dict[str, Kind] = {"w": "delta", "half": "delta", "wide": "delta", "mean": "value"}


def decoded_from(encoded: Encoded) -> Decoded:
    """Return a message as its reader decodes it."""
    whole = memoryview(bytearray().join(encoded.buffers))
    return decode(whole, kind=encoded.message.KIND, limits=ReaderLimits(max_bytes=1 << 24))


def announced(version: int) -> GlobalParameters:
    """Return what a version says beside its tensors."""
    return GlobalParameters(run="r", version=version, rounds=9, plan=TrainingPlan(), keep=True)


def model(generator: torch.Generator, scale: float) -> dict[str, Tensor]:
    """Return tensors of several dtypes; the last one is a buffer."""
    return {
        "w": torch.randn(30, 20, generator=generator) * scale,
        "half": (torch.randn(400, generator=generator) * scale).bfloat16(),
        "wide": torch.randn(300, generator=generator).double() * scale,
        "mean": torch.rand(7, generator=generator),
    }


class Ends:
    """A coordinator's P_v and a participant's, from the bytes between them."""

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        self.sent = {name: tensor.clone() for name, tensor in tensors.items()}
        self.held = {name: tensor.clone() for name, tensor in tensors.items()}
        self.version = 0

    def go_on(self, tensors: Mapping[str, Tensor], encoding: str) -> int:
        """Publish a version; return its length in bytes."""
        self.version += 1
        difference = make_difference(
            announced(self.version), tensors, self.sent, kinds=KINDS, encoding=encoding
        )
        encoded = difference.named(base="1" * 64, digest="2" * 64)
        message, self.held = read_difference(decoded_from(encoded), self.held)
        assert message == announced(self.version)
        self.sent = difference.sums
        return encoded.num_bytes


@given(seed=st.integers(0, 2**32), encoding=st.sampled_from(ALL), log=st.integers(-30, 4))
def test_both_ends_hold_the_same_bits_after_every_version(
    seed: int, encoding: str, log: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    now = model(generator, 10.0**log)
    ends = Ends(now)
    for _ in range(5):
        now = {
            name: tensor
            + torch.randn(tensor.shape, generator=generator).to(tensor.dtype) * 10.0**log
            for name, tensor in now.items()
        }
        ends.go_on(now, encoding)
        for name, tensor in ends.sent.items():
            assert torch.equal(tensor, ends.held[name])
            assert tensor.dtype == now[name].dtype
        assert torch.equal(ends.held["mean"], now["mean"])


@given(seed=st.integers(0, 2**32), log=st.integers(-6, 3))
def test_with_int8_no_version_is_further_off_than_half_a_scale_of_its_own_step(
    seed: int, log: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    now = torch.randn(1000, generator=generator)
    ends = Ends({"w": now})
    for _ in range(20):
        now = now + torch.randn(1000, generator=generator) * 10.0**log
        step = (now - ends.sent["w"]).abs()
        ends.go_on({"w": now}, "difference:int8")
        scales = torch.stack([block.max() for block in step.split(BLOCK_VALUES)]) / 127
        rounding = 2e-7 * (now.abs() + step)
        bound = scales.repeat_interleave(BLOCK_VALUES)[:1000] / 2 * 1.001 + rounding
        assert bool(((now - ends.held["w"]).abs() <= bound).all())


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_model_that_stands_still_is_reached(encoding: str) -> None:
    """What one difference leaves out is in the next ones, until nothing is left."""
    generator = torch.Generator().manual_seed(1)
    ends = Ends({"w": torch.randn(500, generator=generator)})
    goal = torch.randn(500, generator=generator)
    for _ in range(60):
        ends.go_on({"w": goal}, encoding)
    assert torch.allclose(ends.held["w"], goal, rtol=0, atol=1e-6)


def test_a_difference_takes_a_quarter_of_a_version_in_int8_and_less_with_top_k() -> None:
    """Of 400,000 bytes int8 sends 25.4 % and top-k of a hundredth 2 %."""
    for encoding, share in (("difference:int8", 0.26), ("difference:topk:0.01", 0.025)):
        ends = Ends({"w": torch.zeros(100_000)})
        assert ends.go_on({"w": torch.ones(100_000)}, encoding) < share * 400_000


@pytest.mark.parametrize("value", [torch.inf, torch.nan, 3e38])
def test_what_no_finite_difference_says_travels_as_it_is(value: float) -> None:
    """Infinities of masks and steps beyond float32's range arrive as they are."""
    before = torch.full((600,), -3e38)
    after = torch.ones(600)
    after[3] = value
    ends = Ends({"w": before})
    ends.go_on({"w": after}, "difference:int8")
    assert torch.equal(ends.held["w"].nan_to_num(nan=7.0), after.nan_to_num(nan=7.0))


def difference() -> tuple[Decoded, dict[str, Tensor]]:
    """Return a difference as it was received, and its base."""
    base = {"w": torch.zeros(600)}
    made = make_difference(
        announced(1),
        {"w": torch.ones(600)},
        base,
        kinds={"w": "delta"},
        encoding="difference:int8",
    )
    return decoded_from(made.named(base="1" * 64, digest="2" * 64)), base


def test_a_difference_that_becomes_something_else_is_refused() -> None:
    """One other bit in the base, and the digest is another."""
    received, base = difference()
    base["w"][7] = 0.5
    with pytest.raises(MalformedMessageError, match="does not become what its hash says"):
        read_difference(received, base)


@pytest.mark.parametrize(
    ("base", "reason"),
    [
        ({"v": torch.zeros(600)}, "names other tensors than its base"),
        ({"w": torch.zeros(601)}, "another dtype or shape than its base"),
        ({"w": torch.zeros(600).double()}, "another dtype or shape than its base"),
    ],
)
def test_a_difference_to_another_network_is_refused(base: dict[str, Tensor], reason: str) -> None:
    """Names, dtypes and shapes are compared before anything is added."""
    received, _ = difference()
    with pytest.raises(MalformedMessageError, match=reason):
        read_difference(received, base)


@pytest.mark.parametrize("setting", ["difference:float32", "difference:raw"])
def test_a_difference_that_saves_nothing_is_no_setting(setting: str) -> None:
    """An unchanged difference is as long as the version itself."""
    with pytest.raises(InvalidInputError, match="as large as the version"):
        difference_encoding(setting)


def test_whole_versions_are_no_differences() -> None:
    """The other settings stay what they were."""
    assert difference_encoding("int8") is None

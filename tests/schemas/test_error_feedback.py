"""With error feedback nothing is lost, only late."""

import pytest
import torch
from fuzz_target import UPDATE, sent_and_received
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from fanfold.schemas.error_feedback import encode_with_feedback, owed_again
from fanfold.schemas.tensor_table import Kind

ENCODINGS = ["float16", "bfloat16", "int8", "topk:0.01", "topk:0.1+int8", "topk:0.1+float16"]


def step(
    delta: Tensor, residual: dict[str, Tensor], encoding: str
) -> tuple[Tensor, dict[str, Tensor]]:
    """Return what the coordinator reads of one update, and what is left for the next."""
    encoded, left = encode_with_feedback(
        UPDATE, {"x": delta}, residual, kinds={"x": "delta"}, encoding=encoding
    )
    return sent_and_received(encoded)["x"], left


@given(seed=st.integers(0, 2**32), encoding=st.sampled_from(ENCODINGS), log=st.integers(-30, 4))
def test_sent_plus_left_is_what_was_owed_to_the_last_bit(
    seed: int, encoding: str, log: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    residual = {}
    for _ in range(3):
        delta = torch.randn(20, 30, generator=generator) * 10.0**log
        owed = delta + residual.get("x", torch.zeros(()))
        sent, residual = step(delta, residual, encoding)
        assert torch.equal(sent + residual["x"], owed)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_float64_keeps_what_float32_rounds_away(encoding: str) -> None:
    delta = torch.randn(1000, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    sent, residual = step(delta, {}, encoding)
    assert torch.equal(sent + residual["x"], delta)


def test_a_change_too_small_for_top_k_arrives_in_the_end() -> None:
    delta = torch.cat([torch.full((10,), 1.0), torch.full((90,), 0.2)])
    arrived = torch.zeros(100)
    residual = {}
    for _ in range(50):
        sent, residual = step(delta, residual, "topk:0.1")
        arrived += sent
    assert torch.allclose(arrived + residual["x"], 50 * delta, rtol=1e-4)
    assert (arrived > 0).all()


def test_nothing_is_left_of_what_travels_as_it_is() -> None:
    encoded, left = encode_with_feedback(
        UPDATE, {"x": torch.ones(3), "n": torch.tensor(1)}, {}, kinds={"x": "delta"},
        encoding="float32",
    )  # fmt: skip
    assert left == {}
    assert torch.equal(sent_and_received(encoded)["x"], torch.ones(3))


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_value_that_is_not_finite_is_sent_once_and_not_kept(encoding: str) -> None:
    delta = torch.ones(1000)
    delta[7] = torch.nan
    sent, residual = step(delta, {}, encoding)
    assert sent[7].isnan()
    assert residual["x"].isfinite().all()


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_what_was_sent_in_vain_is_owed_once_more(encoding: str) -> None:
    """Also what travelled as it is, because no encoding made it smaller."""
    generator = torch.Generator().manual_seed(0)
    tensors = {"x": torch.randn(20, 30, generator=generator), "y": torch.tensor(0.5)}
    kinds: dict[str, Kind] = {"x": "delta", "y": "delta", "n": "value"}
    encoded, left = encode_with_feedback(
        UPDATE, tensors | {"n": torch.tensor(7)}, {}, kinds=kinds, encoding=encoding
    )
    owed = owed_again(left, encoded)
    assert owed.keys() == tensors.keys()
    assert all(torch.equal(owed[name], tensors[name]) for name in tensors)


def test_a_value_that_is_not_finite_is_not_owed_again() -> None:
    delta = torch.ones(1000)
    delta[7] = torch.inf
    encoded, left = encode_with_feedback(
        UPDATE, {"x": delta}, {}, kinds={"x": "delta"}, encoding="topk:0.1"
    )
    assert owed_again(left, encoded)["x"].isfinite().all()

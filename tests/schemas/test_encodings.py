"""Lossy encodings cost what they say, and never hide what is not finite."""

import struct

import pytest
import torch
from fuzz_target import GLOBAL_PARAMETERS, LIMITS, UPDATE, joined, sent_and_received
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from fanfold.schemas.encodings import Encoding
from fanfold.schemas.errors import InvalidInputError, MalformedMessageError
from fanfold.schemas.message_codec import TensorBytes, decode, encode
from fanfold.schemas.tensor_codec import decode_tensors, encode_tensors, num_bytes

MODEL = {
    "conv1.weight": torch.randn(20, 1, 7, 7, generator=torch.Generator().manual_seed(1)),
    "conv1.bias": torch.randn(20, generator=torch.Generator().manual_seed(2)),
    "linear.weight": torch.randn(10, 2560, generator=torch.Generator().manual_seed(3)),
    "linear.bias": torch.randn(10, generator=torch.Generator().manual_seed(4)),
}
DELTAS = dict.fromkeys(MODEL, "delta")
LOSSY = ["float16", "bfloat16", "int8", "topk:0.01", "topk:0.1+int8", "topk:0.1+bfloat16"]


def as_delta(values: Tensor, encoding: str) -> Tensor:
    """Return `values` after they travelled as a delta under `encoding`."""
    encoded = encode_tensors(UPDATE, {"x": values}, kinds={"x": "delta"}, encoding=encoding)
    assert encoded.entries[0].encoding == encoding
    return sent_and_received(encoded)["x"]


def read(data: bytes, *, encoding: str, num_values: int) -> Tensor:
    """Decode `data` as a delta of float32 under `encoding`."""
    row = TensorBytes("x", "float32", (num_values,), "delta", encoding, memoryview(data))
    whole = memoryview(bytearray(joined(encode(UPDATE, [row]))))
    return decode_tensors(decode(whole, kind="Update", limits=LIMITS))["x"]


@pytest.mark.parametrize(
    ("encoding", "most"),
    [("float32", 1.01), ("float16", 0.51), ("bfloat16", 0.51), ("int8", 0.27), ("topk:0.01", 0.03)],
)
def test_an_update_takes_no_more_than_its_share_of_float32(encoding: str, most: float) -> None:
    encoded = encode_tensors(UPDATE, MODEL, kinds=DELTAS, encoding=encoding)
    assert encoded.entries[-1].end <= most * num_bytes(MODEL)


def test_int8_is_off_by_at_most_half_a_step_of_its_block() -> None:
    values = torch.randn(1000, generator=torch.Generator().manual_seed(0))
    received = as_delta(values, "int8")
    for mine, theirs in zip(values.split(256), received.split(256), strict=True):
        assert (mine - theirs).abs().max() <= mine.abs().max() / 127 / 2 * 1.0001


def test_top_k_keeps_the_largest_magnitudes_exactly() -> None:
    values = torch.randn(50, 20, generator=torch.Generator().manual_seed(0))
    received = as_delta(values, "topk:0.05")
    kept = received != 0
    assert kept.sum() == 50
    assert torch.equal(received[kept], values[kept])
    assert values[kept].abs().min() >= values[~kept].abs().max()


@pytest.mark.parametrize("encoding", LOSSY)
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_what_is_not_finite_stays_not_finite(encoding: str, bad: float) -> None:
    values = torch.ones(1000)
    values[123] = bad
    assert not as_delta(values, encoding)[123].isfinite()


def test_int8_marks_only_the_block_that_is_not_finite() -> None:
    values = torch.ones(1000)
    values[300] = torch.inf
    received = as_delta(values, "int8")
    assert received[256:512].isnan().all()
    assert torch.equal(received[:256], values[:256])
    assert torch.equal(received[512:], values[512:])


@given(exponents=st.lists(st.integers(-149, 127), min_size=1, max_size=20))
def test_int8_of_finite_values_is_finite(exponents: list[int]) -> None:
    values = torch.tensor([1.9999999 * 2.0**exponent for exponent in exponents]).repeat(30)
    assert values.isfinite().all()
    assert as_delta(values, "int8").isfinite().all()


@pytest.mark.parametrize("encoding", ["float16", "topk:0.1+float16"])
def test_a_value_beyond_the_range_is_refused_when_it_is_sent(encoding: str) -> None:
    with pytest.raises(InvalidInputError, match="tensor 'x': a value is beyond the range of enc"):
        as_delta(torch.full((100,), 70_000.0), encoding)


@pytest.mark.parametrize("encoding", LOSSY)
def test_only_floating_deltas_of_an_update_are_encoded(encoding: str) -> None:
    tensors = {
        "delta": torch.randn(300),
        "running_mean": torch.randn(300),
        "count": torch.arange(300),
    }
    encoded = encode_tensors(UPDATE, tensors, kinds={"delta": "delta"}, encoding=encoding)
    assert [entry.encoding for entry in encoded.entries] == [encoding, "raw", "raw"]
    received = sent_and_received(encoded)
    assert torch.equal(received["running_mean"], tensors["running_mean"])
    assert torch.equal(received["count"], tensors["count"])


def test_global_parameters_can_be_narrowed_to_the_dtype_they_had() -> None:
    tensors = {"w": torch.randn(300), "d": torch.randn(300).double(), "n": torch.arange(3)}
    received = sent_and_received(encode_tensors(GLOBAL_PARAMETERS, tensors, encoding="bfloat16"))
    for name in ("w", "d"):
        assert received[name].dtype == tensors[name].dtype
        assert torch.equal(received[name], tensors[name].bfloat16().to(tensors[name].dtype))
    assert torch.equal(received["n"], tensors["n"])


def test_a_tensor_that_an_encoding_would_not_shrink_stays_as_it_is() -> None:
    tensors = {"scalar": torch.tensor(1.5), "half": torch.ones(9).half(), "none": torch.empty(0)}
    kinds = dict.fromkeys(tensors, "delta")
    encoded = encode_tensors(UPDATE, tensors, kinds=kinds, encoding="topk:0.9")
    assert [entry.encoding for entry in encoded.entries] == ["raw", "raw", "raw"]


@pytest.mark.parametrize(
    "name",
    [
        *["", "int4", "Int8", "int8\n", "topk", "topk:", "topk:0", "topk:0.0", "topk:1.5"],
        *["topk:-0.1", "topk:nan", "topk:0.٣", "topk:0.0000001", "topk:0.01+raw"],
        "topk:0.01+topk:0.01",
    ],
)
def test_an_unknown_encoding_is_refused_in_a_sentence(name: str) -> None:
    with pytest.raises(InvalidInputError, match=r"unknown encoding .*; choose float32, float16"):
        Encoding.from_setting(name)


@pytest.mark.parametrize(
    "indices", [(3, 3), (5, 2), (-1, 4), (0, 10), (2**31 - 1, 0)], ids=lambda pair: f"{pair}"
)
def test_top_k_indices_that_do_not_increase_within_the_tensor_are_refused(
    indices: tuple[int, int],
) -> None:
    data = struct.pack("<2i2f", *indices, 1.0, 2.0)
    with pytest.raises(MalformedMessageError, match="tensor 'x': top-k indices are not incr"):
        read(data, encoding="topk:0.2", num_values=10)


def test_top_k_indices_cannot_step_back_so_far_that_the_difference_wraps_around() -> None:
    data = struct.pack("<4i4f", 0, 2_000_000_000, -2_000_000_000, 5, *range(4))
    with pytest.raises(MalformedMessageError, match="top-k indices are not increasing"):
        read(data, encoding="topk:0.4", num_values=10)


@pytest.mark.parametrize("scale", [-1.0, float("inf"), float("-inf")])
def test_an_int8_scale_that_is_no_magnitude_is_refused(scale: float) -> None:
    with pytest.raises(MalformedMessageError, match="tensor 'x': an int8 scale is infinite or neg"):
        read(struct.pack("<f2b", scale, 1, 2), encoding="int8", num_values=2)


def test_the_int8_code_without_a_counterpart_is_refused() -> None:
    with pytest.raises(MalformedMessageError, match="tensor 'x': an int8 code is -128"):
        read(struct.pack("<f2b", 1.0, 1, -128), encoding="int8", num_values=2)

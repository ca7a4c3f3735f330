"""Tensors arrive as they left."""

from collections.abc import Callable
from hashlib import sha256

import pytest
import torch
from fuzz_target import GLOBAL_PARAMETERS, LIMITS, UPDATE, joined, sent_and_received
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from fanfold.schemas.errors import InvalidInputError, MalformedMessageError, UnsupportedDtypeError
from fanfold.schemas.message_codec import TensorBytes, decode, encode
from fanfold.schemas.messages import Hello, Message
from fanfold.schemas.reader_limits import MAX_TENSOR_NAME_BYTES
from fanfold.schemas.tensor_codec import (
    DTYPES,
    decode_tensors,
    encode_tensors,
    encoded_tensors_bytes,
    limits_for,
    num_bytes,
    parameters_sha256,
)
from fanfold.schemas.tensor_table import Kind


def bits(tensor: Tensor) -> bytes:
    """Return the values' bytes, written without the code under test; NaN equals NaN here."""
    return bytes(tensor.detach().contiguous().flatten().view(torch.uint8).tolist())


def random_tensor(dtype: torch.dtype, shape: list[int], seed: int) -> Tensor:
    """Return a tensor of random bits, so that NaN, infinities and extremes are among the values."""
    generator = torch.Generator().manual_seed(seed)
    size = int(torch.tensor(shape).prod()) * dtype.itemsize
    raw = torch.randint(0, 2 if dtype == torch.bool else 256, (size,), generator=generator)
    return raw.to(torch.uint8).view(dtype).reshape(shape)


@given(
    dtypes=st.lists(st.sampled_from(sorted(DTYPES)), max_size=4),
    shape=st.lists(st.integers(0, 30), max_size=3),
    encoding=st.sampled_from(
        ["float32", "float16", "bfloat16", "int8", "topk:0.1", "topk:0.3+int8"]
    ),
    message=st.sampled_from([GLOBAL_PARAMETERS, UPDATE]),
)
def test_the_length_of_a_message_is_known_before_it_is_encoded(
    dtypes: list[str], shape: list[int], encoding: str, message: Message
) -> None:
    """To the byte, for every dtype, shape and encoding, of versions and of updates."""
    if message is GLOBAL_PARAMETERS and encoding.startswith("topk"):
        encoding = "float32"
    tensors = {
        f"{index}": torch.zeros(shape, dtype=DTYPES[dtype]) for index, dtype in enumerate(dtypes)
    }
    kinds: dict[str, Kind] = {
        name: "delta" if message is UPDATE and tensor.is_floating_point() else "value"
        for name, tensor in tensors.items()
    }
    encoded = encode_tensors(message, tensors, kinds=kinds, encoding=encoding)
    measured = encoded_tensors_bytes(message, tensors, kinds=kinds, encoding=encoding)
    assert measured == encoded.num_bytes


def test_measuring_a_message_reads_no_value() -> None:
    """A tensor of 4 TiB is measured on a machine that could not hold it."""
    huge = torch.zeros(1).expand(1 << 40)
    measured = encoded_tensors_bytes(GLOBAL_PARAMETERS, {"huge": huge})
    empty = encoded_tensors_bytes(GLOBAL_PARAMETERS, {"huge": torch.zeros(0)})
    assert (1 << 42) <= measured < (1 << 42) + 2 * empty


@given(
    dtype=st.sampled_from(sorted(DTYPES)),
    shape=st.lists(st.integers(0, 9), max_size=4),
    seed=st.integers(0, 2**32),
    chunk_bytes=st.integers(1024, 5000),
)
def test_every_dtype_and_shape_arrives_bit_for_bit(
    dtype: str, shape: list[int], seed: int, chunk_bytes: int
) -> None:
    tensors = {
        "a": random_tensor(DTYPES[dtype], shape, seed),
        "b": random_tensor(DTYPES[dtype], shape, seed + 1),
    }
    encoded = encode_tensors(GLOBAL_PARAMETERS, tensors)
    received = sent_and_received(encoded, chunk_bytes=chunk_bytes)
    assert list(received) == ["a", "b"]
    for name, tensor in tensors.items():
        assert received[name].dtype == tensor.dtype
        assert received[name].shape == tensor.shape
        assert bits(received[name]) == bits(tensor)


def test_int64_stays_int64() -> None:
    largest = torch.tensor(2**63 - 1)
    received = sent_and_received(encode_tensors(GLOBAL_PARAMETERS, {"steps": largest}))
    assert received["steps"].dtype == torch.int64
    assert received["steps"].item() == 2**63 - 1


@pytest.mark.parametrize(
    "tensor",
    [
        pytest.param(torch.arange(24.0).reshape(4, 6).T, id="transposed"),
        pytest.param(torch.arange(24.0)[::5], id="strided"),
        pytest.param(torch.zeros(1).expand(3, 4), id="expanded"),
        pytest.param(torch.ones(3, requires_grad=True), id="requiring gradients"),
        pytest.param(torch.nn.Parameter(torch.ones(2, 2)), id="parameter"),
        pytest.param(torch.complex(torch.ones(3), torch.ones(3)).conj().imag, id="negative bit"),
    ],
)
def test_any_dense_tensor_can_travel(tensor: Tensor) -> None:
    received = sent_and_received(encode_tensors(GLOBAL_PARAMETERS, {"x": tensor}))["x"]
    assert torch.equal(received, tensor)
    assert not received.requires_grad


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: torch.zeros(2, dtype=torch.complex64), "'x' is torch.complex64"),
        (lambda: torch.eye(2).to_sparse(), "'x' is torch.sparse_coo"),
        (lambda: torch.quantize_per_tensor(torch.ones(2), 1, 0, torch.qint8), "'x' is torch.qint8"),
        (lambda: torch.ones(2, device="meta"), "'x' is meta"),
        (lambda: torch.nested.nested_tensor([torch.ones(1), torch.ones(2)]), "'x' is nested"),
    ],
    ids=["complex", "sparse", "quantized", "meta", "nested"],
)
@pytest.mark.filterwarnings("ignore::UserWarning")  # torch calls the last ones young, or old
def test_other_tensors_are_refused_by_name(make: Callable[[], Tensor], words: str) -> None:
    with pytest.raises(UnsupportedDtypeError, match=words):
        encode_tensors(GLOBAL_PARAMETERS, {"x": make()})


def test_a_contiguous_tensor_is_sent_and_received_without_a_copy() -> None:
    tensor = torch.zeros(1000)
    encoded = encode_tensors(GLOBAL_PARAMETERS, {"x": tensor})
    tensor[0] = 5
    whole = bytearray(joined(encoded))
    received = decode_tensors(decode(memoryview(whole), kind="GlobalParameters", limits=LIMITS))
    assert received["x"][0] == 5
    received["x"][-1] = 7
    assert torch.frombuffer(whole, dtype=torch.float32)[-1] == 7


def test_a_read_only_message_is_copied_before_tensors_are_made_of_it() -> None:
    whole = joined(encode_tensors(GLOBAL_PARAMETERS, {"x": torch.zeros(10)}))
    received = decode_tensors(decode(memoryview(whole), kind="GlobalParameters", limits=LIMITS))
    received["x"].fill_(1)
    assert whole == joined(encode_tensors(GLOBAL_PARAMETERS, {"x": torch.zeros(10)}))


def test_a_boolean_that_is_neither_0_nor_1_is_refused() -> None:
    row = TensorBytes("mask", "bool", (3,), "value", "raw", memoryview(b"\0\1\2"))
    whole = memoryview(joined(encode(UPDATE, [row])))
    with pytest.raises(MalformedMessageError, match="'mask' has booleans that are not 0 or 1"):
        decode_tensors(decode(whole, kind="Update", limits=LIMITS))


def test_only_messages_made_for_them_carry_tensors() -> None:
    with pytest.raises(MalformedMessageError, match="'x' is in a message of a kind that carries"):
        encode_tensors(Hello(participant="a", instance="b"), {"x": torch.ones(1)})
    with pytest.raises(MalformedMessageError, match="'x' is a delta of int64"):
        encode_tensors(UPDATE, {"x": torch.tensor(1)}, kinds={"x": "delta"})


@pytest.mark.parametrize("encoding", ["float32", "int8"])
def test_global_parameters_are_values_and_say_how_each_is_answered(encoding: str) -> None:
    """A participant that knows no BatchNorm reads there that its statistics are values."""
    tensors = {"weight": torch.full((300,), 2.0), "running_mean": torch.full((300,), 3.0)}
    encoded = encode_tensors(
        GLOBAL_PARAMETERS, tensors, kinds={"weight": "delta"}, encoding=encoding
    )
    whole = memoryview(bytearray(joined(encoded)))
    decoded = decode(whole, kind="GlobalParameters", limits=LIMITS)
    assert {entry.name: entry.kind for entry in decoded.entries} == {
        "weight": "delta",
        "running_mean": "value",
    }
    assert {entry.encoding for entry in decoded.entries} == {encoding.replace("float32", "raw")}
    assert {name: t.mean().item() for name, t in decode_tensors(decoded).items()} == pytest.approx(
        {"weight": 2.0, "running_mean": 3.0}
    )


def test_global_parameters_cannot_leave_values_out() -> None:
    with pytest.raises(InvalidInputError, match="GlobalParameters cannot travel as topk"):
        encode_tensors(GLOBAL_PARAMETERS, {"x": torch.ones(1)}, encoding="topk:0.01")


def test_the_hash_is_what_its_definition_says() -> None:
    tensors = {
        "zz": torch.tensor([1, 2], dtype=torch.int64),
        "é": torch.arange(12.0).reshape(4, 3).T,
        "Z": torch.tensor(True),
        "half": torch.ones(0, 3, dtype=torch.bfloat16),
    }
    parts = [
        b"Z\0bool\0\0\x01",
        b"half\0bfloat16\x000,3\0",
        b"zz\0int64\x002\0" + (1).to_bytes(8, "little") + (2).to_bytes(8, "little"),
        "é\0float32\x003,4\0".encode() + bits(tensors["é"]),
    ]
    assert parameters_sha256(tensors) == sha256(b"".join(parts)).hexdigest()
    assert parameters_sha256(dict(reversed(tensors.items()))) == parameters_sha256(tensors)


def test_the_bytes_of_tensors_are_counted() -> None:
    assert num_bytes({"a": torch.ones(3, 2), "b": torch.tensor(1), "c": torch.empty(0)}) == 32


def test_a_models_own_limits_let_everything_pass_that_carries_it() -> None:
    """Names of 512 bytes, 16 dimensions, the longest encoding and the most metrics there can be."""
    tensors = {
        f"{number:03}".ljust(MAX_TENSOR_NAME_BYTES, "x"): torch.zeros([1] * 15 + [300])
        for number in range(100)
    }
    limits = limits_for(tensors)
    metrics = {f"{number}".ljust(64, "\U0001f600"): 0.1 for number in range(64)}
    update = UPDATE.model_copy(update={"metrics": metrics})
    for encoding in ("float32", "topk:0.123456+bfloat16"):
        encoded = encode_tensors(
            update, tensors, kinds=dict.fromkeys(tensors, "delta"), encoding=encoding
        )
        assert decode(memoryview(joined(encoded)), kind="Update", limits=limits)
    nonsense = {f"{number}": torch.zeros(0) for number in range(165)}
    crowded = joined(encode_tensors(UPDATE, nonsense))
    with pytest.raises(MalformedMessageError, match="has 165 tensors, this reader takes 164"):
        decode(memoryview(crowded), kind="Update", limits=limits)

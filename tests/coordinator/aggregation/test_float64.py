"""Facts about float64 arithmetic in blocks: it is the plain arithmetic, only faster."""

import math

import pytest
import torch

from fanfold.coordinator.aggregation import float64

SHAPES = [(), (0,), (3, 4), (1000, 131), (2 * float64.BLOCK_VALUES + 1,)]
DTYPES = [torch.float32, torch.bfloat16, torch.float64, torch.float8_e4m3fn]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_blocks_give_the_bits_of_the_whole(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    """Sum, scaled copy and move agree with one operation on converted tensors."""
    values, total = torch.randn(shape).to(dtype), torch.randn(shape, dtype=torch.float64)
    plain = total + 0
    float64.add_scaled(total, values, 3.7)
    plain.add_(values.double(), alpha=3.7)
    moved = values.clone()
    float64.move_by(moved, plain.clone())

    assert torch.equal(total, plain)
    assert torch.equal(float64.scaled(values, 3.7), values.double() * 3.7)
    assert torch.equal(moved.double(), (plain + values.double()).to(dtype).double())


def test_a_tensor_in_another_order_of_memory_is_moved_in_its_place() -> None:
    tensor = torch.randn(4, 5).t()
    before = tensor.clone()
    float64.move_by(tensor, torch.ones(5, 4, dtype=torch.float64))
    assert torch.equal(tensor, before + 1)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_norm_is_exact_to_float64(dtype: torch.dtype) -> None:
    values = torch.randn(2 * float64.BLOCK_VALUES + 1).to(dtype)
    expected = float(torch.linalg.vector_norm(values.double()))
    assert float64.norm(values) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e18])
def test_a_norm_that_is_looked_up_quickly_is_2_percent_too_large_at_most(
    shape: tuple[int, ...], dtype: torch.dtype, scale: float
) -> None:
    """And never too small, also where all values are the same, or their squares are too small."""
    for values in (torch.randn(shape) * scale, torch.full(shape, scale / 3)):
        exact, quick = float64.norm(values.to(dtype)), float64.norm_at_most(values.to(dtype))
        if exact is None:  # beyond this dtype
            assert quick is None
        elif quick is not None:
            assert exact <= quick <= exact * 1.02 + 1e-16


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, 3e38])
def test_what_is_not_finite_has_no_quick_norm(bad: float) -> None:
    """Nor has what is, where its square is not."""
    values = torch.zeros(2 * float64.BLOCK_VALUES)
    values[-1] = bad
    assert float64.norm_at_most(values) is None


def test_large_float32_values_are_finite_in_a_norm() -> None:
    """The square of float32's largest value is no infinity in float64."""
    assert float64.norm(torch.full((1000,), 3e38)) == pytest.approx(3e38 * math.sqrt(1000))


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_value_that_is_not_finite_has_no_norm(bad: float) -> None:
    values = torch.zeros(2 * float64.BLOCK_VALUES)
    values[-1] = bad
    assert float64.norm(values) is None


def test_finite_float64_beyond_any_norm_is_told_from_infinite() -> None:
    assert float64.norm(torch.tensor([1e200, 1e200], dtype=torch.float64)) == math.inf


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
def test_one_value_that_is_not_finite_is_found(dtype: torch.dtype, value: float) -> None:
    """Wherever it is, whatever the layout; the largest finite one is none."""
    values = torch.full((400, 500), torch.finfo(dtype).max, dtype=dtype).T
    assert float64.is_finite(values)
    values[317, 288] = value
    assert not float64.is_finite(values)
    assert float64.norm(values) is None

"""Facts about deltas that are folded in the 16 bits that they travelled in."""

from typing import Any

import pytest
import torch
from torch import Tensor

from fanfold.coordinator.aggregation.aggregation_settings import AggregationSettings
from fanfold.coordinator.aggregation.make_aggregation import make_aggregation
from fanfold.coordinator.aggregation.optimizer_spec import parse_optimizer
from fanfold.coordinator.aggregation.refusals import Reason, UpdateLimits
from fanfold.coordinator.aggregation.run_state import RunState
from fanfold.coordinator.aggregation.staleness import parse_staleness
from fanfold.schemas.message_codec import received
from fanfold.schemas.messages import Update
from fanfold.schemas.tensor_codec import DTYPES, decode_tensors, encode_tensors

MODEL = {"w": torch.full((40, 30), 0.25), "wide": torch.ones(7, dtype=torch.float64)}
MODEL |= {"half": torch.ones(5, dtype=torch.float16), "var": torch.ones(3)}
KINDS: dict[str, Any] = dict.fromkeys(MODEL, "delta") | {"var": "value"}


def new_run(aggregator: str = "mean") -> RunState:
    run = RunState(
        run_id="run",
        tensors={name: tensor.clone() for name, tensor in MODEL.items()},
        kinds=KINDS,
        staleness=parse_staleness("constant"),
        optimizer=parse_optimizer("sgd"),
        limits=UpdateLimits(),
        aggregation=make_aggregation(AggregationSettings(aggregator=aggregator)),
    )
    run.announced("0" * 64)
    return run


def sent(encoding: str, seed: int, **changed: Tensor) -> Any:
    """Return an update as it arrives."""
    generator = torch.Generator().manual_seed(seed)
    tensors = {
        name: torch.randn(each.shape, generator=generator).to(each.dtype)
        for name, each in MODEL.items()
    }
    message = Update(
        run="run",
        participant=f"ann{seed}",
        base_version=0,
        base_digest="0" * 64,
        num_examples=10 + seed,
    )
    return received(encode_tensors(message, tensors | changed, kinds=KINDS, encoding=encoding))


def fold(run: RunState, update: Any, *, widens: bool) -> Reason | None:
    tensors = decode_tensors(update, widens=widens)
    kinds = {entry.name: entry.kind for entry in update.entries}
    dtypes = {entry.name: DTYPES[entry.dtype] for entry in update.entries}
    if (refusal := run.inspect(tensors, kinds, dtypes=dtypes)) is not None:
        return refusal.reason
    run.fold(update.message, tensors, update.message.participant)
    return None


@pytest.mark.parametrize("encoding", ["float32", "float16", "bfloat16", "int8", "topk:0.1"])
def test_the_model_is_the_same_to_the_last_bit(encoding: str) -> None:
    wide, narrow = new_run(), new_run()
    for seed in range(3):
        assert fold(wide, sent(encoding, seed), widens=True) is None
        assert fold(narrow, sent(encoding, seed), widens=False) is None
    wide.close_round()
    narrow.close_round()
    assert all(torch.equal(wide.tensors[name], narrow.tensors[name]) for name in MODEL)


def test_only_what_a_wider_dtype_holds_exactly_stays_narrow() -> None:
    tensors = decode_tensors(sent("bfloat16", 0), widens=False)
    assert [tensors[name].dtype for name in MODEL] == [
        *(torch.bfloat16, torch.bfloat16),
        *(torch.float16, torch.float32),
    ]


@pytest.mark.parametrize("widens", [True, False])
def test_another_dtype_is_refused_and_so_is_what_is_not_finite(widens: bool) -> None:
    """A sender's tensor of 16 bits is not one of 32 that travelled in them."""
    other = sent("bfloat16", 0, w=torch.ones(40, 30, dtype=torch.bfloat16))
    assert fold(new_run(), other, widens=widens) is Reason.INCOMPATIBLE
    broken = sent("bfloat16", 0, w=torch.full((40, 30), torch.inf))
    assert fold(new_run(), broken, widens=widens) is Reason.NON_FINITE
    large = sent("bfloat16", 0, w=torch.full((40, 30), 1e30))
    assert fold(new_run(), large, widens=widens) is Reason.TOO_LARGE


@pytest.mark.parametrize(("rule", "takes_narrow"), [("mean", True), ("clip", False)])
def test_rules_see_the_dtypes_of_the_model(rule: str, takes_narrow: bool) -> None:
    """The mean looks at no values."""
    assert new_run(rule).takes_narrow is takes_narrow

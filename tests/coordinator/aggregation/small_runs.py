"""Small runs as plain state, whose updates need no training."""

from collections.abc import Callable
from hashlib import sha256
from typing import Any

import torch
from torch import Tensor

from fanfold.coordinator.aggregation.aggregation_settings import AggregationSettings
from fanfold.coordinator.aggregation.make_aggregation import make_aggregation
from fanfold.coordinator.aggregation.optimizer_spec import parse_optimizer
from fanfold.coordinator.aggregation.refusals import UpdateLimits
from fanfold.coordinator.aggregation.run_state import RunState
from fanfold.coordinator.aggregation.staleness import parse_staleness
from fanfold.coordinator.aggregation.tensor_store import TensorStore
from fanfold.schemas.messages import Update

KINDS = {"w": "delta", "var": "value", "n": "value"}


def digest_of(text: str) -> str:
    return sha256(text.encode()).hexdigest()


def new_run(
    settings: AggregationSettings, *, store: TensorStore | None = None, optimizer: str = "sgd"
) -> RunState:
    return RunState(
        run_id="run",
        tensors={"w": torch.zeros(7), "var": torch.ones(3), "n": torch.tensor(0)},
        kinds=KINDS,
        staleness=parse_staleness("constant"),
        optimizer=parse_optimizer(optimizer),
        limits=UpdateLimits(max_staleness=3),
        aggregation=make_aggregation(settings, store),
    )


def publish(run: RunState) -> None:
    run.announced(digest_of(f"version {run.version}"))


def send(
    run: RunState, who: str, tensors: dict[str, Tensor], *, base: int | None = None, **more: Any
) -> Any:
    base_version = run.version if base is None else base
    update = Update(
        run="run",
        participant=who,
        base_version=base_version,
        base_digest=digest_of(f"version {base_version}"),
        **({"num_examples": 10, "steps": 2} | more),
    )
    digest = digest_of(f"{who} {base_version}")
    refusal = run.judge(update, digest)
    return refusal or run.fold(update, tensors, digest)


def some(seed: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {
        "w": torch.randn(7, generator=generator),
        "var": torch.rand(3, generator=generator),
        "n": torch.tensor(seed),
    }


def play(
    run: RunState, rounds: int, after_each: Callable[[RunState], RunState], *, lags: bool = True
) -> RunState:
    """Fold up to five updates a round; `after_each` may bring back another run.

    Two participants are one and two versions behind, where there is a lag.
    """
    for _ in range(rounds):
        publish(run)
        for who in range(5):
            base = run.version - (who % 3 if lags else 0)
            if base >= 0:
                sent = some(100 * run.version + who)
                send(run, f"p{who}", sent, base=base, num_examples=who + 1, steps=who + 1)
                run = after_each(run)
        run.close_round()
        run = after_each(run)
    return run


def stored(run: RunState) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in run.tensors.items()}

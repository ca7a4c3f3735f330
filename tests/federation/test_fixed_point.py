"""Facts about runs in fixed point over the broker."""

from typing import Any

import pytest
from safetensors.torch import load_file

from fanfold.runs.replay import replay
from fanfold.runs.settings import ReplaySettings


@pytest.mark.parametrize("mode", ["sync", "buffered"])
def test_a_run_in_fixed_point_replays_bit_for_bit(live: Any, mode: str) -> None:
    """Whatever the order in which updates came, and with weights by examples."""
    coordinator = live.coordinator(
        "Tiny", rounds=4, min_participants=2, mode=mode, goal=None, encoding="fixed", max_examples=5
    )
    for index in range(2):
        live.participant("Tiny", index, 2)
    result = coordinator.result.result(90)
    (chosen,) = coordinator.all("fixed_point_chosen")
    assert chosen == {"bits": 20, "clip": 16.0, "updates": 127, "weights": "by examples"}
    replayed = replay(ReplaySettings(out=live.out, num_partitions=2), say=lambda _event: None)
    assert replayed.agrees
    assert replayed.parameters_sha256 == result.parameters_sha256


def test_a_run_in_fixed_point_is_the_mean_of_floats_within_a_unit(live: Any, tmp_path: Any) -> None:
    """Five and three examples, weighed as FedAvg does."""
    models = []
    for encoding in ("fixed", "float32"):
        options = {"encoding": encoding, "max_examples": 5} if encoding == "fixed" else {}
        coordinator = live.coordinator(
            "Tiny", rounds=1, min_participants=2, out=tmp_path / encoding, **options
        )
        services = [live.participant("Tiny", index, 2) for index in range(2)]
        coordinator.result.result(90)
        for service in services:
            service.stop("the run is over")
            service.result.result(90)
        models.append(load_file(tmp_path / encoding / "model.safetensors"))
    fixed, floats = models
    assert all((fixed[name] - floats[name]).abs().max() < 2.0**-19 for name in floats)

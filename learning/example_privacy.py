"""The settings of training with differential privacy for single examples (DP-SGD)."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ExamplePrivacy:
    """The settings of DP-SGD, which `dp_sgd` carries out; stored as `task.example_privacy`."""

    clip: float
    """C, the largest L2 norm of the gradient of one example."""
    noise: float
    """z: the noise on a batch's sum of gradients has the standard deviation z C."""
    spend: Callable[[float, int], dict[str, float]]
    """Called as `spend(sampling_rate, steps)` before the first step, to record the privacy spent.

    Returns the total spent so far by name, such as epsilon and delta.
    """

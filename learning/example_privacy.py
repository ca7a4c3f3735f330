"""What a participant asks of a training that is to tell little of any one example."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ExamplePrivacy:
    """The rules of DP-SGD; `dp_sgd` does it. A task carries them as `task.example_privacy`."""

    clip: float
    """C, the largest L2 norm of the gradient of one example."""
    noise: float
    """z, the standard deviation of the noise on a batch's sum of gradients, over C."""
    spend: Callable[[float, int], dict[str, float]]
    """Called as (sampling rate, steps) before the first step.

    Returns what is spent by then, by name, such as epsilon and delta.
    """

"""What participants and evaluations report: finite numbers, and their means over examples."""

import math
from collections.abc import Iterable, Mapping


def weighted_means(reported: Iterable[tuple[int, Mapping[str, float]]]) -> dict[str, float]:
    """Return the example-weighted mean of each metric, over those who have a finite value of it.

    Args:
        reported: for each report its number of examples and its metrics by name.

    Example:
        >>> weighted_means([(1, {"loss": 2.0}), (3, {"loss": 1.0, "accuracy": 0.5})])
        {'loss': 1.25, 'accuracy': 0.5}
    """
    totals: dict[str, float] = {}
    examples: dict[str, int] = {}
    for num_examples, metrics in reported:
        for name, value in finite(metrics).items():
            totals[name] = totals.get(name, 0.0) + num_examples * value
            examples[name] = examples.get(name, 0) + num_examples
    return {name: total / examples[name] for name, total in totals.items()}


def finite(metrics: Mapping[str, float]) -> dict[str, float]:
    """Return the metrics that JSON has numbers for."""
    return {name: value for name, value in metrics.items() if math.isfinite(value)}

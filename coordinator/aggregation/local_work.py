"""How much local work an update holds, so that unequal work can be normalised.

FedNova (Wang et al. 2020, Tackling the Objective Inconsistency Problem): with p_k = n_k / sum(n),

    step = (sum_k p_k |a_k|) * sum_k(p_k * delta_k / |a_k|)

where |a_k| is the L1 norm of how often each local gradient is part of delta_k: the number of steps
t of plain SGD, and (t - m (1 - m^t) / (1 - m)) / (1 - m) with momentum m.
"""


def work_of(steps: int, momentum: float) -> float:
    """Return |a| of so many SGD steps.

    Args:
        steps: t, at least 1.
        momentum: m, from 0 to less than 1, from zero at the first step.

    Example:
        >>> work_of(5, 0.0), round(work_of(2, 0.9), 6)
        (5.0, 2.9)
    """
    if not momentum:
        return float(steps)
    return (steps - momentum * (1 - momentum**steps) / (1 - momentum)) / (1 - momentum)

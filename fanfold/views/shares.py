"""The weights of updates in a round, as a sentence."""

from collections.abc import Mapping

from fanfold.monitoring.printable import printable


def shares_in_words(shares: Mapping[str, float]) -> str:
    """Return how much of each participant's update the aggregator counted, as a short sentence."""
    out = sorted(name for name, share in shares.items() if share == 0)
    parts = [f"left out {', '.join(map(printable, out))}"] if out else []
    counted = sorted((share, name) for name, share in shares.items() if share)
    if counted:
        told = ", ".join(f"{printable(name)} {100 * share:.3g} %" for share, name in counted)
        parts.append(f"counted {told}")
    return "; ".join(parts)

"""The numbers of a closed round, by the names of the curves that they are points of."""

from fanfold.schemas.events.coordinator import RoundClosed

_OF_A_ROUND = ("loss", "accuracy", "updates", "examples", "seconds", "bytes_down", "bytes_up")


def scalars_of(closed: RoundClosed) -> dict[str, float]:
    """Return what is known, as `round/loss` and, of the evaluation, `metrics/f1`."""
    scalars = {f"round/{name}": getattr(closed, name) for name in _OF_A_ROUND}
    scalars |= {f"metrics/{name}": value for name, value in (closed.metrics or {}).items()}
    return {name: value for name, value in scalars.items() if value is not None}

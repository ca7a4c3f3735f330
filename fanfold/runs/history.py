"""What a run's folder tells of it: its rounds, and who gave what to them."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Self, overload

from fanfold.coordinator.persistence.history import read_history
from fanfold.schemas.errors import InvalidInputError
from fanfold.schemas.events.coordinator import RoundClosed
from fanfold.schemas.events.reading import event_of

HISTORY = "history.jsonl"
NESTED = ("shares", "metrics", "not_finite")
"""Fields of a round that are no single values."""


@dataclass(frozen=True, slots=True)
class Participation:
    """What one participant gave to a run."""

    participant: str
    updates: int
    """Updates that count in a version."""
    examples: int
    """Private examples behind its last update."""
    mean_staleness: float
    """How many versions old its updates were when they counted, on average."""


class History(Sequence[RoundClosed]):
    """The closed rounds of a run, oldest first.

    Each has the fields of the event `round_closed` (docs/events.md): `version`, `updates`,
    `examples`, `loss`, `accuracy`, `metrics`, `bytes_down`, `bytes_up`, `seconds`, `time`.
    """

    def __init__(
        self, rounds: Sequence[RoundClosed], participants: Mapping[str, Participation]
    ) -> None:
        self._rounds = tuple(rounds)
        self.participants = participants
        """What each participant gave, by id."""

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read the history in a run's folder, as far as it is written.

        Raises:
            InvalidInputError: if there is none.
        """
        rounds: dict[int, RoundClosed] = {}
        updates: dict[str, list[Mapping[str, Any]]] = {}
        for record in _records(folder / HISTORY):
            if record["event"] == "round_closed":
                closed = event_of(record.pop("event"), record)
                if isinstance(closed, RoundClosed):
                    rounds[closed.round] = closed
            elif record["event"] == "round":
                for update in record["updates"]:
                    updates.setdefault(update["participant"], []).append(update)
        given = {name: _participation(name, updates[name]) for name in sorted(updates)}
        return cls([rounds[number] for number in sorted(rounds)], given)

    @overload
    def __getitem__(self, index: int) -> RoundClosed: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[RoundClosed, ...]: ...

    def __getitem__(self, index: int | slice) -> RoundClosed | tuple[RoundClosed, ...]:
        return self._rounds[index]

    def __len__(self) -> int:
        return len(self._rounds)

    def curve(self, metric: str = "accuracy") -> tuple[list[float], list[float]]:
        """Return the seconds since version 0 and the metric, of all versions that have one."""
        now, seconds, values = 0.0, [], []
        for closed in self._rounds:
            now += closed.seconds
            value = value_of(closed, metric)
            if value is not None:
                seconds.append(now)
                values.append(value)
        return seconds, values

    def to_pandas(self) -> Any:
        """Return a `pandas.DataFrame` with a row for each round and a column for each metric.

        Raises:
            InvalidInputError: if there is no pandas.
        """
        if find_spec("pandas") is None:
            raise InvalidInputError("to_pandas needs pandas: install it with pip install pandas")
        import pandas as pd  # noqa: PLC0415 - optional, and slow to import

        single = [
            each.name
            for each in fields(RoundClosed)
            if each.name not in NESTED
            and (each.default is not None or any(getattr(row, each.name) for row in self._rounds))
        ]
        rows = [
            {name: getattr(closed, name) for name in single} | dict(closed.metrics or {})
            for closed in self._rounds
        ]
        return pd.DataFrame(rows, columns=None if rows else single).set_index("round")


def value_of(closed: RoundClosed, metric: str) -> float | None:
    """Return a metric of a round's version; None where it was not measured."""
    measured = dict(closed.metrics or {})
    return {"loss": closed.loss, "accuracy": closed.accuracy, **measured}.get(metric)


def _participation(name: str, updates: Sequence[Mapping[str, Any]]) -> Participation:
    staleness = sum(update["staleness"] for update in updates)
    examples = updates[-1]["num_examples"]
    return Participation(name, len(updates), examples, staleness / len(updates))


def _records(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the records, without a last line that is not whole: a run may be writing it."""
    try:
        yield from read_history(path)
    except json.JSONDecodeError:
        return
    except OSError as error:
        raise InvalidInputError(
            f"there is no run in {path.parent} ({path.name}: {error.strerror}); name its folder"
        ) from None

"""What a run's folder tells of it: its rounds, and who gave what to them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Self, overload

from fanfold.coordinator.persistence.history import HISTORY
from fanfold.coordinator.persistence.records import records_of
from fanfold.runs.tables import table_of
from fanfold.schemas.errors import InvalidInputError
from fanfold.schemas.events.coordinator import RoundClosed
from fanfold.schemas.events.reading import event_of


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
        self,
        folder: Path,
        rounds: Sequence[RoundClosed],
        participants: Mapping[str, Participation],
    ) -> None:
        self._folder = folder
        self._rounds = tuple(rounds)
        self.participants = participants
        """What each participant gave, by id."""

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read the history in a run's folder, as far as it is written.

        Raises:
            InvalidInputError: if there is none.
        """
        if not (folder / HISTORY).is_file():
            raise InvalidInputError(
                f"there is no run in {folder}: it holds no {HISTORY}; of several runs name one's "
                "own folder"
            )
        rounds: list[RoundClosed] = []
        updates: list[Mapping[str, Any]] = []
        for record in records_of(folder / HISTORY):
            if record["event"] == "round_closed":
                closed = event_of(record.pop("event"), record)
                if isinstance(closed, RoundClosed):
                    rounds.append(closed)
            elif record["event"] == "round":
                updates.extend(record["updates"])
        return cls(folder, rounds, _given(updates))

    @overload
    def __getitem__(self, index: int) -> RoundClosed: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[RoundClosed, ...]: ...

    def __getitem__(self, index: int | slice) -> RoundClosed | tuple[RoundClosed, ...]:
        return self._rounds[index]

    def __len__(self) -> int:
        return len(self._rounds)

    def to_pandas(self) -> Any:
        """Return a `pandas.DataFrame` with a row for each round, as `fanfold export` writes it.

        Its index is the round; each metric has a column.

        Raises:
            InvalidInputError: if there is no pandas.
        """
        if find_spec("pandas") is None:
            raise InvalidInputError("to_pandas needs pandas: install it with pip install pandas")
        import pandas as pd  # noqa: PLC0415 - optional, and slow to import

        table = pd.DataFrame(table_of(self._folder, "rounds"))
        if table.empty:
            return table
        table["time"] = pd.to_datetime(table["time"], format="ISO8601")
        return table.set_index("round")


def _given(updates: Iterable[Mapping[str, Any]]) -> dict[str, Participation]:
    by_participant: dict[str, list[Mapping[str, Any]]] = {}
    for update in updates:
        by_participant.setdefault(update["participant"], []).append(update)
    return {
        name: Participation(
            name,
            updates=len(given),
            examples=given[-1]["num_examples"],
            mean_staleness=sum(update["staleness"] for update in given) / len(given),
        )
        for name, given in sorted(by_participant.items())
    }

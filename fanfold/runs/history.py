"""What a run's folder tells of it: its rounds, and who gave what to them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Self, overload

from fanfold.coordinator.persistence.history import HISTORY
from fanfold.coordinator.persistence.records import records_of
from fanfold.runs.run_data import gathered
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
        data = gathered(records_of(folder / HISTORY))
        events = [
            event_of("round_closed", {name: each[name] for name in each if name != "event"})
            for each in data.rounds
        ]
        rounds = [each for each in events if isinstance(each, RoundClosed)]
        participants = {
            name: Participation(name, each.updates, each.examples, each.mean_staleness)
            for name, each in data.participants.items()
            if each.updates
        }
        return cls(folder, rounds, participants)

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

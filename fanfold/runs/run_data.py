"""What a run's history tells: its rounds, and what each participant gave; plain values."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from fanfold.coordinator.persistence.records import records_of
from fanfold.runs.tables import histories
from fanfold.schemas.errors import InvalidInputError

Point = tuple[float, float]
MOST_NAMED = 4


@dataclass(slots=True)
class Participant:
    """What one participant gave."""

    name: str
    examples: int = 0
    """Of its newest update."""
    updates: int = 0
    participants: int | None = None
    """Of a region: those whose updates its newest sum holds."""
    staleness: Counter[int] = field(default_factory=Counter)
    """Updates by staleness."""
    refused_rounds: int = 0
    """Rounds that left it out while it was present."""
    refusal: str = ""
    """The newest reason for that."""
    metrics: dict[str, list[Point]] = field(default_factory=lambda: defaultdict(list))
    """By name: the base version, and what the participant measured of it on its own data."""

    @property
    def mean_staleness(self) -> float:
        """Versions that its updates were behind, on average."""
        return sum(behind * n for behind, n in self.staleness.items()) / max(1, self.updates)


@dataclass(slots=True)
class RunData:
    """A run, as far as it has come."""

    run: str = ""
    settings: dict[str, Any] = field(default_factory=dict)
    """Those of the newest start."""
    starts: int = 0
    begun: datetime | None = None
    rounds: list[dict[str, Any]] = field(default_factory=list)
    """The `round_closed` records, each round once."""
    refused: Counter[str] = field(default_factory=Counter)
    """Messages that did not count, by reason."""
    participants: dict[str, Participant] = field(default_factory=dict)
    end: str | None = None
    """Why it ended before its last round, if it did."""

    _counted: set[int] = field(default_factory=set)
    """Rounds that were taken: one may stand there twice, if a crash undid it."""

    def take(self, record: Mapping[str, Any]) -> None:
        """Take the next record of the history."""
        match record["event"]:
            case "started":
                self.run, self.settings = record["run"], record["settings"]
                self.starts += 1
                self.begun = self.begun or _time(record.get("time"))
            case "round" if record["round"] not in self._counted:
                self._counted.add(record["round"])
                self._take_updates(record)
            case "round_closed" if not (
                self.rounds and record["round"] <= self.rounds[-1]["round"]
            ):
                self.rounds.append(dict(record))
                for name, reason in (record.get("left_out") or {}).items():
                    participant = self.participants.setdefault(name, Participant(name))
                    participant.refused_rounds += 1
                    participant.refusal = reason
            case "ends_early":
                self.end = record["reason"]

    def _take_updates(self, record: Mapping[str, Any]) -> None:
        self.refused.update(record["refused"])
        for update in record["updates"]:
            name = update["participant"]
            participant = self.participants.setdefault(name, Participant(name))
            participant.examples = update["num_examples"]
            participant.updates += 1
            participant.participants = update.get("updates")
            participant.staleness[update["staleness"]] += 1
            for metric, value in (update.get("metrics") or {}).items():
                participant.metrics[metric].append((update["base_version"], value))

    @property
    def is_over(self) -> bool:
        """Whether the last round is in the history."""
        last = self.rounds[-1]["round"] if self.rounds else 0
        return self.end is not None or last >= self.settings.get("rounds", 0)

    @property
    def measured_by_participants(self) -> bool:
        """Whether metrics are means of what participants measured on their own data."""
        return any(each.get("measured_by") == "participants" for each in self.rounds)

    @property
    def elapsed(self) -> list[float]:
        """Seconds from the begin of the run to the end of each round.

        By the clock, pauses included; where there are no times, the sum of the rounds' own seconds.
        """
        times = [_time(each.get("time")) for each in self.rounds]
        if self.begun is None or None in times:
            total, sums = 0.0, []
            for each in self.rounds:
                total += each["seconds"]
                sums.append(total)
            return sums
        begun = self.begun
        return [(time - begun).total_seconds() for time in times if time is not None]

    @property
    def metrics(self) -> dict[str, list[tuple[int, float]]]:
        """Each metric by name, loss and accuracy first: index of the round, and its value."""
        curves: dict[str, list[tuple[int, float]]] = {"loss": [], "accuracy": []}
        for index, closed in enumerate(self.rounds):
            known = {name: closed.get(name) for name in ("loss", "accuracy")}
            for name, value in (known | (closed.get("metrics") or {})).items():
                if value is not None:
                    curves.setdefault(name, []).append((index, value))
        return {name: points for name, points in curves.items() if points}


def read_run(folder: Path) -> RunData:
    """Read the history of a run that is over, or goes on.

    Raises:
        InvalidInputError: if there is no such run, there are several, or no round has closed yet.
    """
    paths = histories(folder)
    if len(paths) > 1:
        names = ", ".join(str(path.parent) for path in paths[:MOST_NAMED])
        raise InvalidInputError(
            f"{folder} holds {len(paths)} runs, and a report is of one; name one of them: {names}"
            + (", ..." if len(paths) > MOST_NAMED else "")
        )
    data = gathered(records_of(paths[0]))
    if not data.rounds:
        raise InvalidInputError(
            f"no round of the run in {folder} has closed yet; try again after the first one"
        )
    return data


def gathered(records: Iterable[Mapping[str, Any]]) -> RunData:
    """Gather the records of one history, oldest first."""
    data = RunData()
    for record in records:
        data.take(record)
    data.participants = dict(sorted(data.participants.items()))
    return data


def _time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)

"""A run's folder as a coordinator writes it: three sites, one of which is slow and one refused."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fanfold.monitoring.event_log import EventLog
from fanfold.schemas.events.coordinator import (
    ParticipantJoined,
    ParticipantSilent,
    RunStarted,
    UpdateRefused,
)
from fanfold.schemas.events.event import Event
from fanfold.schemas.events.live import ParticipantProgress, RoundOpened, UpdateCounted

SETTINGS = {"task": "radiology:Radiology", "mode": "sync", "rounds": 20, "seed": 0}
BEGAN = 1_772_366_400.0  # 2026-03-01 12:00 UTC
SITES = ("aarhus", "bergen", "cork")


def moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(BEGAN + seconds, UTC)


def iso(seconds: float) -> str:
    return moment(seconds).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Folder:
    """Writes a history, and events through the coordinator's own log, at times of its own."""

    def __init__(self, path: Path) -> None:
        path.mkdir(parents=True, exist_ok=True)
        self.path = path
        self.seconds = 0.0
        self.log = EventLog(path, lambda: moment(self.seconds))

    def record(self, event: str, **fields: Any) -> None:
        record = {"event": event, "time": iso(self.seconds), **fields}
        with (self.path / "history.jsonl").open("a") as history:
            history.write(json.dumps(record) + "\n")

    def tell(self, *events: Event) -> None:
        for event in events:
            self.log.take(event)

    def start(self) -> None:
        self.record("started", run="r1", epoch=1, version=0, settings=SETTINGS)
        self.tell(
            RunStarted("clinics", "r1", epoch=1, version=0, rounds=20, task=SETTINGS["task"]),
            *(ParticipantJoined(site, "cpu", examples=90) for site in SITES),
        )

    def open(self, number: int, *, goal: int = 3) -> None:
        who = SITES if number == 1 else None
        self.tell(RoundOpened(number, number - 1, goal, 1, 600.0, participants=who))

    def count(self, site: str, base: int, staleness: int = 0) -> None:
        self.tell(UpdateCounted(site, base, staleness, examples=90))

    def close(self, number: int, *sites: str, accuracy: float = 0.5) -> None:
        updates = [
            {"participant": site, "base_version": number - 1, "staleness": 0, "num_examples": 90}
            for site in sites
        ]
        self.record("round", round=number, updates=updates, refused={})
        self.record(
            "round_closed",
            round=number,
            version=number,
            updates=len(sites),
            examples=270,
            loss=None,
            accuracy=accuracy,
            metrics={"accuracy": accuracy},
            bytes_down=3_000_000,
            bytes_up=2_000_000,
            seconds=10.0,
        )


def a_slow_site(path: Path) -> Folder:
    """Two rounds of ten seconds; in the third cork trains on, and bergen was refused."""
    folder = Folder(path)
    folder.start()
    for number in (1, 2):
        folder.open(number)
        for site in SITES:
            folder.seconds += 1
            folder.tell(ParticipantProgress(site, number - 1, "training", 0, 50))
        folder.seconds += 7
        for site in SITES:
            folder.count(site, number - 1)
        folder.close(number, *SITES, accuracy=0.4 + number / 10)
    folder.open(3)
    folder.tell(ParticipantProgress("cork", 2, "training", 12, 50))
    folder.seconds += 10
    folder.count("aarhus", 2)
    folder.tell(UpdateRefused("bergen", None, 2, "norm 9 is above --max-update-norm 5"))
    folder.seconds += 25
    folder.tell(ParticipantSilent("dresden", 3))
    return folder

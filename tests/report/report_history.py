"""A run's history as a report reads it: two sites, of which one was refused once."""

import json
from pathlib import Path
from typing import Any

SETTINGS = {"task": "radiology:Radiology", "mode": "sync", "rounds": 3, "seed": 0}


def update(participant: str, base: int, staleness: int, examples: int, f1: float) -> dict[str, Any]:
    return {
        "participant": participant,
        "base_version": base,
        "staleness": staleness,
        "num_examples": examples,
        "weight": 1.0,
        "metrics": {"f1": f1},
    }


def at(second: int) -> str:
    return f"2026-03-01T12:00:{second:02}.000Z"


def closed(number: int, second: int, loss: float, **fields: Any) -> dict[str, Any]:
    measured = {"loss": loss, "accuracy": None, "metrics": {"loss": loss, "auc": 1 - loss / 2}}
    told = {"round": number, "version": number, "updates": 1, "examples": 5, "seconds": 2.0}
    return {"event": "round_closed", "time": at(second), **told, **measured, **fields}


def a_round(number: int, second: int, *updates: dict[str, Any], **refused: int) -> dict[str, Any]:
    told = {"event": "round", "time": at(second), "round": number}
    return told | {"updates": [*updates], "refused": refused}


RECORDS = (
    {"event": "started", "time": at(0), "run": "<r1>", "settings": SETTINGS},
    a_round(1, 10, update("aarhus", 0, 0, 400, 0.5), stale=2),
    closed(1, 10, 1.0, left_out={"bergen": "norm 9 is above --max-update-norm 5"}),
    {"event": "started", "time": at(15), "run": "<r1>", "settings": SETTINGS},
    a_round(2, 30, update("aarhus", 1, 0, 400, 0.6), update("bergen", 0, 1, 100, 0.4)),
    closed(2, 30, 0.5),
    closed(2, 30, 0.5),
)


def write(folder: Path, *records: dict[str, Any], tail: str = '{"event": "rou') -> Path:
    """Write a history whose last line is being written."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = (json.dumps(each) + "\n" for each in records or RECORDS)
    (folder / "history.jsonl").write_text("".join(lines) + tail)
    return folder

"""Proves from the files of a chaos run what must be true after it."""

import json
from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chaos_legs import Leg
from chaos_names import Name, names_of
from chaos_refold import LIMITS, follow, kept, refold, trainings

from fanfold.coordinator.persistence.history import read_history
from fanfold.participant.training_state import TrainingState
from fanfold.runs.replay import _recorded, replay
from fanfold.runs.settings import ReplaySettings
from fanfold.schemas.tensor_codec import parameters_sha256

TRACEBACK = "Traceback (most recent call last):"


@dataclass(frozen=True, slots=True)
class Proved:
    """Counts from a federation's history, which was found to be consistent."""

    federation: str
    rounds: int
    updates: int
    parameters_sha256: str
    lost: int
    """Updates whose checkpoint was damaged by a disturbance; the history names each."""
    unseen: int
    """Updates that the broker had confirmed and that count nowhere: they were too late, or went
    with a queue that was deleted, purged or wiped."""
    connections: int = 0
    """Trainings whose residual and private tensors were followed, one to the next."""
    given_back: int = 0
    """Updates that came too late, whose deltas went back into the residual."""


def prove_trained(leg: Leg, out: Path, folder: Path, acknowledged: AbstractSet[Name]) -> Proved:
    """Prove a run by training every update in its history again."""
    closed, names, lost = counted(out, acknowledged)
    replayed = replay(
        ReplaySettings(out=out, num_partitions=leg.participants), say=lambda _event: None
    )
    assert replayed.rounds == len(closed)
    assert replayed.updates == len(names)
    assert replayed.agrees, "the replay in memory ends elsewhere"
    unseen = len(confirmed(folder) - names)
    return Proved(leg.federation, len(closed), len(names), replayed.parameters_sha256, lost, unseen)


def prove_sent(leg: Leg, out: Path, folder: Path, acknowledged: AbstractSet[Name]) -> Proved:
    """Prove a run with top-k by folding what was sent, and following the residuals."""
    closed, names, lost = counted(out, acknowledged)
    digests: dict[str, set[str]] = {}
    for record in closed:
        for update in record["updates"]:
            digests.setdefault(update["participant"], set()).add(update["digest"])
    connections, given_back, updates = 0, 0, {}
    for participant, theirs in digests.items():
        seen = trainings(folder / "witness" / participant)
        state = TrainingState(folder / "participant-disk" / participant, LIMITS)
        followed, returned = follow(kept(seen, state), state, theirs)
        connections, given_back = connections + followed, given_back + returned
        updates |= {training.digest: training.path.with_suffix(".update") for training in seen}
    refolded = refold(out, updates)
    recorded = parameters_sha256(_recorded(out)[1])
    assert recorded == refolded, "what was sent, folded again, ends elsewhere"
    unseen = len(confirmed(folder) - names)
    return Proved(
        leg.federation,
        len(closed),
        len(names),
        refolded,
        lost,
        unseen,
        connections,
        given_back,
    )


def counted(
    out: Path, acknowledged: AbstractSet[Name] = frozenset()
) -> tuple[list[dict[str, Any]], set[Name], int]:
    """Return the history's rounds, the names of what counts, and how much was lost and named.

    Prove that rounds closed in order, each once, that no update counts twice, and that none that
    was acknowledged is missing without being named as lost: those that the history says so of, and
    those that were seen to be before a checkpoint was damaged.
    """
    records = list(read_history(out / "history.jsonl"))
    closed = [record for record in records if record["event"] == "round"]
    rounds = [record["round"] for record in closed]
    assert rounds == list(range(1, len(closed) + 1)), "rounds are missing, or there twice"
    names = [name for record in closed for name in names_of(record)]
    assert len(set(names)) == len(names), "an update counts twice"
    committed = {
        name
        for record in records
        # Those of a round that the end of the run leaves open count nowhere.
        if record["event"] == "commit" and record["round"] <= len(closed)
        for name in names_of(record)
    }
    lost = {
        name for record in records if record["event"] == "updates_lost" for name in names_of(record)
    }
    missing = (committed | acknowledged) - set(names) - lost
    assert not missing, f"updates that were acknowledged count nowhere: {sorted(missing)}"
    return closed, set(names), len(lost)


def confirmed(folder: Path) -> set[Name]:
    """Return the updates that the broker confirmed, by the participants' events."""
    return {
        (path.stem, event["version"])
        for path in folder.glob("participant-*.events")
        for event in _events(path)
        if event["event"] == "update_sent"
    }


def tracebacks(folder: Path) -> list[str]:
    """Return the logs that hold a traceback, with the last line of each."""
    found = []
    for path in sorted(folder.glob("*.log")):
        text = path.read_text(errors="replace")
        for part in text.split(TRACEBACK)[1:]:
            words = [line for line in part.splitlines() if line and not line.startswith(" ")]
            found.append(f"traceback in {path.name}: {words[0] if words else ''}")
    return found


def _events(path: Path) -> Iterable[dict[str, Any]]:
    for line in path.read_text(errors="replace").splitlines():
        try:
            yield json.loads(line)
        except json.JSONDecodeError:
            continue

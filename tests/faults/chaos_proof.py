"""What must be true after a run of chaos, proved from what it left behind."""

from pathlib import Path

from coordinator.history import read_history
from warren.replay import Replayed, replay
from warren.settings import ReplaySettings


def prove(out: Path, *, rounds: int, participants: int) -> Replayed:
    """Prove from what the run left behind that nothing was lost or counted twice."""
    records = list(read_history(out / "history.jsonl"))
    closed = [record for record in records if record["event"] == "round"]
    assert [record["round"] for record in closed] == list(range(1, rounds + 1))
    names = [
        (update["participant"], update["base_version"])
        for record in closed
        for update in record["updates"]
    ]
    assert len(set(names)) == len(names), "an update counts twice"
    committed = {
        (update["participant"], update["base_version"])
        for record in records
        if record["event"] == "commit" and record["round"] <= rounds  # later ones end with the run
        for update in record["updates"]
    }
    assert committed <= set(names), "an update that was acknowledged counts nowhere"
    assert not [record for record in records if record["event"] == "updates_lost"]
    replayed = replay(
        ReplaySettings(out=out, num_partitions=participants), say=lambda _event, _fields: None
    )
    assert replayed.rounds == rounds
    assert replayed.updates == len(names)
    assert replayed.agrees, "the replay in memory ends elsewhere"
    return replayed

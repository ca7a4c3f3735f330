"""Facts about the history: what a commit counts is there again, whatever became of the file."""

from pathlib import Path

import pytest

from coordinator.history import MOST_TAIL_BYTES, History, read_history


def lines(path: Path) -> list[int]:
    return [record["line"] for record in read_history(path)]


@pytest.mark.parametrize("left", [0, 5, 10_000])
def test_committed_lines_survive_the_loss_of_everything_that_was_not_synced(
    tmp_path: Path, left: int
) -> None:
    """The checkpoint holds the tail: a power cut may take any of it out of the file."""
    path = tmp_path / "history.jsonl"
    history = History(path)
    for line in range(3):
        history.append({"line": line})
    committed = history.commit()
    history.append({"line": 3})
    history.close()
    path.write_bytes(path.read_bytes()[: committed["history_bytes"] + left])

    again = History(path, length=committed["history_bytes"], tail=committed["history_tail"])
    again.append({"line": 4})
    again.flush()
    again.close()
    assert lines(path) == [0, 1, 2, 4]


def test_a_long_tail_moves_into_the_file(tmp_path: Path) -> None:
    history = History(tmp_path / "history.jsonl")
    history.append({"line": 0, "text": "x" * MOST_TAIL_BYTES})
    committed = history.commit()
    assert committed == {"history_bytes": history.path.stat().st_size, "history_tail": ""}
    history.append({"line": 1})
    assert history.commit()["history_tail"] == '{"line":1}\n'
    history.close()
    assert lines(history.path) == [0, 1]

"""Files of JSON lines, read while somebody writes them."""

import json
from pathlib import Path

from fanfold.runs.following import Follower


def lines(*numbers: int) -> str:
    return "".join(f"{json.dumps({'event': 'e', 'number': each})}\n" for each in numbers)


def numbers(follower: Follower) -> list[int]:
    return [each["number"] for each in follower.news()]


def append(path: Path, text: str) -> None:
    with path.open("a") as file:
        file.write(text)


def test_a_file_is_read_as_it_grows(tmp_path: Path) -> None:
    """It need not be there; half a line is left, and what is no event is passed over."""
    path = tmp_path / "a.jsonl"
    follower = Follower(path)
    assert numbers(follower) == []
    append(path, lines(1, 2) + '{"event": "e", "num')
    assert numbers(follower) == [1, 2]
    append(path, 'ber": 3}\n{"event"\n[]\n' + lines(4))
    assert numbers(follower) == [3, 4]
    assert numbers(follower) == []


def test_another_file_is_read_from_its_begin(tmp_path: Path) -> None:
    """Also if it is longer than the one before, or was cut in place."""
    path = tmp_path / "a.jsonl"
    follower = Follower(path)
    append(path, lines(1, 2))
    assert numbers(follower) == [1, 2]
    path.unlink()
    append(path, lines(5, 6, 7))
    assert (numbers(follower), follower.restarts) == ([5, 6, 7], 1)
    path.write_text(lines(5))
    assert (numbers(follower), follower.restarts) == ([5], 2)


def test_nothing_is_missed_when_a_file_is_turned_over(tmp_path: Path) -> None:
    """The rest of the old file comes before the new one; at first all of it does."""
    path, old = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    follower = Follower(path, old)
    append(path, lines(*range(100, 130)))
    assert numbers(follower) == [*range(100, 130)]
    append(path, lines(200))
    path.rename(old)
    append(path, lines(300))
    assert numbers(follower) == [200, 300]
    append(path, lines(400))
    assert numbers(follower) == [400]
    assert numbers(Follower(path, old)) == [*range(100, 130), 200, 300, 400]

"""Facts about what browsers are sent: the same to all, worked out once."""

import json
from pathlib import Path
from typing import Any

import pytest
from run_folder import Folder, a_slow_site

from fanfold.page.lateness import median_without
from fanfold.page.screen import LONGEST_SECONDS, LOOK_SECONDS, Screen, Seen
from fanfold.page.watched_run import WatchedRun
from fanfold.schemas.events.coordinator import ParticipantJoined
from fanfold.schemas.events.live import ParticipantProgress, UpdateCounted


class Clock:
    """Goes on when it is told to, and by so much at each look at it."""

    def __init__(self) -> None:
        self.seconds = 100.0
        self.step = 0.0

    def __call__(self) -> float:
        self.seconds += self.step
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return a_slow_site(tmp_path / "scans")


@pytest.fixture
def screen(folder: Folder, clock: Clock) -> Screen:
    return Screen(WatchedRun("scans", folder.path), clock)


def people(frame: str | None) -> list[str]:
    told: dict[str, Any] = json.loads(frame or "{}")
    return [each["name"] for each in told.get("people", [])]


def test_all_viewers_are_sent_the_same_and_each_what_it_lacks(
    screen: Screen, folder: Folder, clock: Clock
) -> None:
    first, second, late = Seen(), Seen(), Seen()
    assert screen.news(first) is screen.news(second)
    folder.tell(ParticipantJoined("emden", "cpu"))
    assert screen.news(first) is None  # not before the next look
    clock.seconds += LOOK_SECONDS
    frame = screen.news(first)
    assert people(frame) == ["emden"]
    assert screen.news(second) is frame
    assert screen.news(second) is None
    assert people(screen.news(late)) == ["aarhus", "bergen", "cork", "dresden", "emden"]


def test_what_a_list_of_runs_has_read_is_still_news_for_a_viewer(
    screen: Screen, folder: Folder, clock: Clock
) -> None:
    """Once, and no note twice."""
    seen, other = Seen(), Seen()
    screen.news(seen)
    folder.tell(ParticipantJoined("emden", "cpu"))
    screen.look()
    notes = [json.loads(screen.news(other) or "{}")["notes"]]
    clock.seconds += LOOK_SECONDS
    assert people(screen.news(seen)) == ["emden"]
    notes.append(json.loads(screen.news(other) or "{}")["notes"])
    serials = [each[0] for some in notes for each in some]
    assert serials == list(range(1, len(serials) + 1))


def test_a_look_that_takes_long_is_taken_less_often(
    screen: Screen, folder: Folder, clock: Clock
) -> None:
    """Yet in time for an event to be shown within a second."""
    seen = Seen()
    clock.step = 0.02  # for each of the looks at the clock
    screen.news(seen)
    clock.step = 0.0
    folder.tell(ParticipantJoined("emden", "cpu"))
    clock.seconds += 2 * LOOK_SECONDS
    assert screen.news(seen) is None
    clock.seconds += LONGEST_SECONDS - 2 * LOOK_SECONDS
    assert people(screen.news(seen)) == ["emden"]


def test_what_somebody_did_is_told_as_past_once_the_coordinator_is_gone(
    screen: Screen, folder: Folder, clock: Clock
) -> None:
    """To viewers who looked before, and although no event says that it was killed."""
    seen = Seen()

    def words() -> str:
        told = json.loads(screen.news(seen) or "{}")["people"]
        return next(str(each["words"]) for each in told if each["name"] == "cork")

    with folder.log:
        assert words().startswith("trains on version 2")
    clock.seconds += LOOK_SECONDS
    assert words().startswith("trained on version 2")


def test_a_region_stands_there_as_one(screen: Screen, folder: Folder, clock: Clock) -> None:
    """With how many its newest sum holds, or says that it speaks for since."""
    seen = Seen()
    screen.news(seen)

    def device() -> str:
        clock.seconds += LOOK_SECONDS
        return str(json.loads(screen.news(seen) or "{}")["people"][0]["device"])

    folder.tell(UpdateCounted("cork", 2, 0, examples=90, updates=12))
    assert device() == "region of 12 participants"
    folder.tell(ParticipantProgress("cork", 3, "training", 0, 0, participants=13))
    assert device() == "region of 13 participants"


def test_nothing_is_to_go_once_the_coordinator_is_gone(
    screen: Screen, folder: Folder, clock: Clock
) -> None:
    """A killed run takes no time; started again, it is told anew how long it takes."""

    def told() -> str:
        return str(json.loads(screen.news(Seen()) or "{}")["sections"]["answers"])

    with folder.log:
        assert "to go" in told()
    clock.seconds += LOOK_SECONDS
    assert "to go" not in told()
    assert "nobody is at work on the next one" in told()


@pytest.mark.parametrize(
    ("value", "median"), [(1.0, 3.0), (3.0, 2.0), (None, 2.5), (4.0, 2.0), (2.0, 3.0)]
)
def test_what_others_take_leaves_one_out(value: float | None, median: float) -> None:
    assert median_without([1.0, 2.0, 3.0, 4.0], value) == median
    assert median_without([5.0], 5.0) is None

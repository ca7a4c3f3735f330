"""What is made of a coordinator's events: lanes, who is at work, and four answers."""

from pathlib import Path

import pytest
from run_folder import BEGAN, Folder, a_slow_site

from fanfold.page.answers import Look, answers, state_of
from fanfold.page.live_run import LiveRun
from fanfold.page.watched_run import WatchedRun
from fanfold.schemas.events.coordinator import ParticipantSilent, RunFinished, Stopping, Waiting
from fanfold.schemas.events.live import ParticipantProgress, RoundOpened


def look_at(folder: Folder) -> Look:
    return WatchedRun("run", folder.path, clock=lambda: BEGAN + folder.seconds).look()


def spans(live: LiveRun, site: str) -> list[tuple[str, float, float | None, int, object]]:
    return [
        (
            *(each.phase, each.begin - BEGAN, each.end and each.end - BEGAN, each.version),
            "refused" if each.is_refused else each.staleness,
        )
        for each in live.people[site].lane.spans
    ]


def test_a_lane_has_download_training_and_wait(tmp_path: Path) -> None:
    """A version is on its way until its training is reported; the result colours both."""
    live = look_at(a_slow_site(tmp_path)).live

    assert spans(live, "bergen") == [
        ("wait", 0, 0, -1, None),
        ("download", 0, 2, 0, 0),
        ("train", 2, 10, 0, 0),
        ("wait", 10, 10, 0, None),
        ("download", 10, 12, 1, 0),
        ("train", 12, 20, 1, 0),
        ("wait", 20, 20, 1, None),
        ("train", 20, 30, 2, "refused"),
        ("wait", 30, None, 2, None),
    ]
    assert spans(live, "cork")[-1] == ("train", 20, None, 2, None)


def test_who_trains_on_an_old_version_goes_on_when_a_round_opens(tmp_path: Path) -> None:
    """Where stale updates count, it then takes the newest version."""
    folder = Folder(tmp_path)
    folder.start()
    folder.open(1, goal=1)
    folder.seconds = 1
    folder.count("aarhus", 0)
    folder.open(2, goal=1)
    folder.seconds = 3
    folder.count("cork", 0, staleness=1)
    live = look_at(folder).live

    assert spans(live, "cork") == [
        ("wait", 0, 0, -1, None),
        ("train", 0, 3, 0, 1),
        ("wait", 3, 3, 0, None),
        ("download", 3, None, 1, None),
    ]
    assert live.people["cork"].staleness == 1


def test_the_four_answers_of_a_round_that_is_held_up(tmp_path: Path) -> None:
    """Who is slow is named with how slow; who is silent or refused with the reason."""
    folder = a_slow_site(tmp_path)
    with folder.log:
        runs, far, holds, better = answers(look_at(folder))

    assert (runs.short, runs.more) == ("Yes", "round 3 has 1 of 3 updates")
    assert (far.short, far.more) == ("2 of 20 rounds", "a round takes 10 s: about 3 min to go")
    assert holds.short == "cork"
    assert holds.more == (
        "cork works on its version for 35 s, 3.5 times as long as others take; "
        "bergen (refused: norm 9 is above --max-update-norm 5); dresden (silent since round 3)"
    )
    assert (better.short, better.tone) == ("Yes", "good")
    assert better.more == (
        "accuracy 0.6000, the best is 0.6000 of version 2; +0.1000 since the one before"
    )


def test_of_many_who_hold_a_round_up_the_slowest_is_named_and_the_others_counted(
    tmp_path: Path,
) -> None:
    folder = Folder(tmp_path)
    sites = tuple(f"site-{index}" for index in range(9))
    folder.start()
    folder.tell(RoundOpened(1, 0, 9, 1, 600.0, participants=sites))
    folder.seconds += 2
    for site in sites:
        folder.count(site, 0)
    folder.close(1, *sites)
    folder.tell(RoundOpened(2, 1, 9, 1, 600.0, participants=None))
    folder.seconds += 2
    for site in sites[:4]:
        folder.count(site, 1)
    folder.tell(ParticipantSilent("site-0", 2))
    folder.seconds += 8
    with folder.log:
        holds = answers(look_at(folder))[2]
    assert holds.short == "6 of 12 participants"
    assert holds.more == (
        "site-4 works on its version for 10 s, 5.0 times as long as others take; 4 more are slow; "
        "1 are silent, or were refused"
    )


def test_a_report_that_comes_after_its_update_changes_nothing(tmp_path: Path) -> None:
    """It would look as if its participant were still at work on what is counted."""
    folder = Folder(tmp_path)
    folder.start()
    folder.open(1)
    folder.seconds += 2
    folder.count("cork", 0)
    folder.tell(ParticipantProgress("cork", 0, "uploading", 0, 0))
    assert spans(look_at(folder).live, "cork")[-1][0] == "wait"


@pytest.mark.parametrize(
    ("values", "short"),
    [
        ([0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.92, 0.93, 0.94, 0.95], "Yes"),
        ([*[0.96, 0.97, 0.965, 0.97, 0.975], *[0.97, 0.96, 0.967, 0.972, 0.95]], "It stays level"),
        ([0.9, 0.9, 0.9, 0.9, 0.9, 0.8, 0.8, 0.8, 0.8, 0.9], "No, worse"),
    ],
)
def test_one_version_that_is_worse_is_no_trend(
    values: list[float], short: str, tmp_path: Path
) -> None:
    folder = Folder(tmp_path)
    folder.start()
    for number, value in enumerate(values, 1):
        folder.close(number, "cork", accuracy=value)
    assert answers(look_at(folder))[3].short == short


def test_a_run_that_was_killed_is_told_from_one_that_was_stopped(tmp_path: Path) -> None:
    """The lock goes with the process; a stop is told before."""
    folder = a_slow_site(tmp_path)
    with folder.log:
        assert state_of(look_at(folder)) == "running"
        folder.tell(Waiting("3 participants", present=1))
        assert state_of(look_at(folder)) == "waiting"
    look = look_at(folder)
    assert state_of(look) == "not running"
    assert answers(look)[0].more == (
        "no coordinator is at work here: it ended without a word, as when it is killed; version 2 "
        "is safe; started again with the same --out it goes on from there"
    )
    folder.log = Folder(tmp_path).log
    with folder.log:
        folder.start()
        folder.tell(Stopping("SIGTERM"))
    assert state_of(look_at(folder)) == "stopped"


def test_a_run_is_finished_after_its_last_round(tmp_path: Path) -> None:
    folder = a_slow_site(tmp_path)
    with folder.log:
        folder.close(20, "aarhus")
        folder.tell(RunFinished(20, 0.5, "model.safetensors", "0" * 64))
    look = look_at(folder)

    assert [each.short for each in answers(look)[:2]] == ["It is finished", "20 of 20 rounds"]
    assert all(person.lane.open is None for person in look.live.people.values())


def test_a_history_alone_has_lanes_of_whole_rounds(tmp_path: Path) -> None:
    """Older runs, and simulated ones, have no events."""
    folder = Folder(tmp_path)
    folder.record("started", run="r1", version=0, settings={"rounds": 2})
    folder.seconds = 10
    folder.close(1, "aarhus")
    live = look_at(folder).live

    assert spans(live, "aarhus") == [("train", 0, 10, 0, 0)]


def test_a_new_run_in_the_folder_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    """Nothing of the old run is left, and who watches is told to begin anew."""
    folder = a_slow_site(tmp_path)
    run = WatchedRun("run", tmp_path, clock=lambda: BEGAN)
    before = run.look()
    for name in ("history.jsonl", "events.jsonl"):
        (tmp_path / name).unlink()
    folder = Folder(tmp_path)
    folder.start()
    after = run.look()

    assert (before.generation, after.generation) == (0, 1)
    assert (len(before.data.rounds), len(after.data.rounds)) == (2, 0)
    assert after.live.people.keys() == {"aarhus", "bergen", "cork"}


@pytest.mark.parametrize("cut", [1, 9, 40])
def test_a_line_that_is_being_written_is_taken_once_it_is_whole(tmp_path: Path, cut: int) -> None:
    folder = a_slow_site(tmp_path)
    path = tmp_path / "history.jsonl"
    text = path.read_bytes()
    path.write_bytes(text[:-cut])
    run = WatchedRun("run", tmp_path, clock=lambda: BEGAN + folder.seconds)
    assert len(run.look().data.rounds) == 1
    with path.open("ab") as file:
        file.write(text[-cut:])
    assert len(run.look().data.rounds) == 2

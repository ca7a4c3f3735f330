"""Two hundred participants on the page: all of them are there, and it stays quick."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from programs import program
from run_folder import SETTINGS, Folder

from fanfold.page.server import PageServer
from fanfold.page.settings import PageSettings
from fanfold.schemas.events.coordinator import ParticipantJoined, RunStarted
from fanfold.schemas.events.live import RoundOpened, UpdateCounted

sys.path.insert(0, str(Path(__file__).parents[2] / "docs"))
from browser import Browser

MANY = 200
ROUNDS = 60
EVERYBODY = tuple(f"site-{index}" for index in range(MANY))
DRAWN = """
document.querySelectorAll('#lanes tbody tr')[arguments[0]].scrollIntoView();
return new Promise((done) => setTimeout(() => {
    const canvas = document.querySelectorAll('#lanes canvas')[arguments[0]];
    const data = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
    done(data.some((value) => value > 0));
}, 200));
"""
SECONDS = """
const began = performance.now();
for (let i = 0; i < 20; i++) document.querySelector('#window').dispatchEvent(new Event('change'));
return (performance.now() - began) / 1000 / 20;
"""


def a_round(folder: Folder, number: int) -> None:
    """Everybody answers, one after the other, within two seconds."""
    members = EVERYBODY if number == 1 else None
    folder.tell(RoundOpened(number, number - 1, MANY, 1, 600.0, participants=members))
    for name in EVERYBODY:
        folder.seconds += 2 / MANY
        folder.tell(UpdateCounted(name, number - 1, 0, examples=90))
    folder.close(number, *EVERYBODY, accuracy=number / ROUNDS)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Folder]:
    folder = Folder(tmp_path / "many")
    folder.record("started", run="r1", epoch=1, version=0, settings=SETTINGS)
    folder.tell(
        RunStarted("clinics", "r1", epoch=1, version=0, rounds=ROUNDS, task="digits"),
        *(ParticipantJoined(name, "cpu", examples=90) for name in EVERYBODY),
    )
    for number in range(1, ROUNDS):
        a_round(folder, number)
    with folder.log:
        yield folder


@pytest.mark.slow
def test_200_participants_are_shown_and_the_page_stays_quick(folder: Folder) -> None:
    """Drawing all that is in view takes less than a frame of a film; an event is there at once."""
    for name, package in (("chromium", "chromium"), ("chromedriver", "chromium-driver")):
        program(name, package=package)
    with (
        PageServer(folder.path, PageSettings(port=0)) as server,
        Browser() as page,
    ):
        page.open(server.url)
        page.wait_for(f"document.querySelectorAll('#lanes tbody tr').length === {MANY}")
        names = "return [...document.querySelectorAll('#lanes tbody th')].map((e) => e.textContent)"
        assert page.run(names) == list(EVERYBODY)
        choose = "document.querySelector('#window').value = 'all'"
        page.run(choose)
        assert [page.run(DRAWN, index) for index in (0, 100, 199)] == [True] * 3
        assert page.run(SECONDS) < 1 / 24
        a_round(folder, ROUNDS)
        last = "document.querySelector('#lanes tbody tr:last-child td.n').textContent"
        page.wait_for(f"{last} === '{ROUNDS}'", 1.0)
        assert_all_counted(page)
        page.emulate(390, 800, scheme="dark")
        assert page.run("return document.documentElement.scrollWidth") <= 390


def assert_all_counted(page: Any) -> None:
    """Everybody has answered every round."""
    updates = "return [...document.querySelectorAll('#lanes tbody td.n')].map((e) => e.textContent)"
    assert page.run(updates).count(str(ROUNDS)) == MANY

"""The page in Chromium: on a desk and on a telephone, light and dark, by keyboard."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from contrast import CONTRAST
from programs import program
from run_folder import Folder, a_slow_site

from fanfold.page.server import PageServer
from fanfold.page.settings import PageSettings
from fanfold.schemas.events.coordinator import ParticipantJoined

sys.path.insert(0, str(Path(__file__).parents[2] / "docs"))
from browser import Browser

TAB = "\ue004"
ROWS = """
return [...document.querySelectorAll('#lanes tbody tr')].map((row) =>
    [row.querySelector('th').textContent, row.querySelector('.words').firstChild.textContent]);
"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    for name, package in (("chromium", "chromium"), ("chromedriver", "chromium-driver")):
        program(name, package=package)
    with Browser() as opened:
        yield opened


@pytest.mark.slow
def test_runs_appear_in_the_list_as_they_begin(browser: Any, tmp_path: Path) -> None:
    """What is chosen stays chosen; a single run is shown at once."""
    with PageServer(tmp_path, PageSettings(port=0)) as server:
        browser.open(server.url)
        browser.wait_for("document.querySelector('#runs td.soft')")
        a_slow_site(tmp_path / "first")
        browser.wait_for("location.pathname === '/runs/first'")
        a_slow_site(tmp_path / "second")
        browser.open(server.url)
        browser.wait_for("document.querySelectorAll('#runs input').length === 2")
        browser.run("document.querySelector('#runs input[value=first]').checked = true")
        a_slow_site(tmp_path / "third")
        browser.wait_for("document.querySelectorAll('#runs input').length === 3")
        assert browser.run("return document.querySelector('#runs input:checked').value") == "first"
        browser.open("about:blank")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Folder]:
    folder = a_slow_site(tmp_path_factory.mktemp("runs") / "scans")
    with folder.log:
        yield folder


@pytest.fixture(scope="module")
def page(browser: Any, folder: Folder) -> Iterator[Any]:
    with PageServer(folder.path, PageSettings(port=0)) as server:
        browser.requested()
        browser.open(server.url)
        browser.wait_for("document.body.dataset.frames > 0")
        yield browser
        browser.open("about:blank")


def test_the_first_screen_says_who_holds_a_run_up(page: Any) -> None:
    """In large letters, at the top; the table below says of everybody what it does."""
    page.emulate(1280, 800, scheme="light")
    short = "return [...document.querySelectorAll('.answer .short')].map((e) => e.textContent)"
    assert page.run(short)[:2] == ["Yes", "2 of 20 rounds"]
    assert page.run(short)[2].startswith("cork")
    bottom = "return document.querySelector('#answers').getBoundingClientRect().bottom"
    assert page.run(bottom) < 500
    rows = dict(page.run(ROWS))
    assert list(rows) == ["aarhus", "bergen", "cork", "dresden"]
    assert rows["cork"] == "trains on version 2, step 12 of 50"
    assert rows["dresden"] == "silent since round 3"


def test_an_event_is_on_the_screen_within_a_second(page: Any, folder: Folder) -> None:
    folder.tell(ParticipantJoined("emden", "cuda:0"))
    page.wait_for("document.querySelectorAll('#lanes tbody tr').length == 5", 1.0)


def test_lanes_are_drawn_in_the_colours_of_staleness(page: Any) -> None:
    """A lane that holds work is not empty, and its canvas says nothing to a screen reader."""
    drawn = """
    document.querySelector('#window').value = 'all';
    document.querySelector('#window').dispatchEvent(new Event('change'));
    return [...document.querySelectorAll('#lanes canvas')].slice(0, 3).map((canvas) =>
        canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data
            .some((value) => value > 0));
    """
    page.emulate(1280, 800, scheme="light")
    page.run("window.scrollTo(0, 0)")
    page.wait_for("document.querySelector('#lanes canvas').width > 400")
    assert page.run(drawn) == [True] * 3
    assert page.run("return document.querySelectorAll('canvas:not([aria-hidden])').length") == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_is_readable(page: Any, width: int, scheme: str) -> None:
    """Nothing is wider than the screen; text has 12 pixels at least and stands out 4.5 times."""
    page.emulate(width, 800, scheme=scheme)
    assert page.run("return document.documentElement.scrollWidth") == width
    sizes = (
        "return Math.min(...[...document.querySelectorAll('body *')]"
        ".map((each) => parseFloat(getComputedStyle(each).fontSize)))"
    )
    assert page.run(sizes) >= 12
    contrast, text = page.run(CONTRAST)
    assert contrast >= 4.5, text
    names = (
        "return [...document.querySelectorAll('#lanes th[scope=row]')].map((e) => e.offsetHeight)"
    )
    assert max(page.run(names)) < 60  # names stand in one line


def test_everything_is_reached_by_keyboard(page: Any) -> None:
    """In the order in which it stands: the skip link, the brand, choices, events, models."""
    page.emulate(1280, 800, scheme="light")
    page.run("document.activeElement.blur(); window.scrollTo(0, 0)")
    reached = []
    for _ in range(5):
        page.press(TAB)
        focus = "const e = document.activeElement; return e.id || e.className"
        reached.append(page.run(focus))
    assert reached == ["skip", "brand", "window", "version", "notes"]


def test_a_screen_reader_finds_names_headings_and_news(page: Any) -> None:
    """Rows and columns have headers, controls have labels, and a new state is told."""
    assert page.run("return document.querySelectorAll('#lanes thead th[scope=col]').length") == 5
    unnamed = """
    return [...document.querySelectorAll('select, input, button, a')].filter((each) =>
        !each.labels?.length && !each.textContent.trim() && !each.ariaLabel).length;
    """
    assert page.run(unnamed) == 0
    assert page.run("return document.querySelector('[role=status]').textContent").startswith(
        "Does it run? Yes. Who holds it up? cork"
    )
    outline = "return [...document.querySelectorAll('h1, h2')].map((each) => each.tagName)"
    assert page.run(outline)[0] == "H1"


def test_nothing_is_loaded_from_elsewhere(page: Any) -> None:
    """All that the browser asked for since the page was opened."""
    asked = {each for each in page.requested() if not each.startswith(("data:", "chrome"))}
    assert any(each.endswith("/static/run.js") for each in asked)
    assert [each for each in asked if not each.startswith("http://127.0.0.1:")] == []


def test_the_page_says_that_its_server_is_gone(browser: Any, tmp_path: Path) -> None:
    a_slow_site(tmp_path / "scans")
    with PageServer(tmp_path / "scans", PageSettings(port=0)) as server:
        browser.open(server.url)
        browser.wait_for("document.body.dataset.frames > 0")
        assert browser.run("return document.querySelector('#lost').hidden")
    browser.wait_for("!document.querySelector('#lost').hidden")
    browser.open("about:blank")

"""The report's page in Chromium, on a desk and on a telephone, light and dark."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from contrast import CONTRAST
from programs import program
from report_history import write

from fanfold.report.report import report
from fanfold.report.settings import ReportSettings

sys.path.insert(0, str(Path(__file__).parents[2] / "docs"))
from browser import Browser


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    for name, package in (("chromium", "chromium"), ("chromedriver", "chromium-driver")):
        program(name, package=package)
    written = report(
        write(tmp_path_factory.mktemp("run")), ReportSettings(plot=False), say=lambda _event: None
    )
    with Browser() as browser:
        browser.open(Path(written.page).as_uri())
        yield browser


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_a_page_is_readable(page: Any, width: int, scheme: str) -> None:
    """Nothing is wider than the screen; text has 12 pixels at least and stands out 4.5 times."""
    page.emulate(width, 800, scheme=scheme)
    assert page.run("return document.documentElement.scrollWidth") == width
    assert (
        page.run(
            "return Math.min(...[...document.querySelectorAll('body *')]"
            ".map((each) => parseFloat(getComputedStyle(each).fontSize)))"
        )
        >= 12
    )
    contrast, text = page.run(CONTRAST)
    assert contrast >= 4.5, text
    background = page.run("return getComputedStyle(document.body).backgroundColor")
    assert background == {"light": "rgb(246, 247, 249)", "dark": "rgb(16, 19, 23)"}[scheme]


def test_a_curve_is_drawn_over_the_version_and_over_the_clock(page: Any) -> None:
    """The choice needs no script; only one of the two is seen."""
    page.emulate(1280, 800, scheme="light")
    shown = (
        "return [...document.querySelectorAll('.caption')]"
        ".filter((each) => each.checkVisibility()).map((each) => each.textContent)"
    )
    assert page.run(shown) == ["version", "version", "version"]
    page.run("document.querySelector('label[for=clock]').click()")
    assert page.run(shown) == ["s since the start", "s since the start", "version"]
    heights = page.run(
        "return [...document.querySelectorAll('.clock path:not(.dot)')]"
        ".map((each) => each.getBoundingClientRect().height)"
    )
    assert min(heights) > 50


def test_who_gave_what_and_what_was_refused_stands_in_tables(page: Any) -> None:
    cells = (
        "return [...document.querySelectorAll(arguments[0] + ' tr')].slice(1)"
        ".map((row) => [...row.cells].map((cell) => cell.textContent.trim()))"
    )
    assert page.run(cells, "#participants") == [
        ["aarhus", "400", "2", "0.00", "0"],
        ["bergen", "100", "1", "1.00", "1"],
    ]
    assert page.run(cells, "#staleness") == [["0", "2", ""], ["1", "1", ""]]
    assert page.run(cells, "#refused")[0] == ["stale", "2"]

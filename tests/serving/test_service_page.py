"""The page of `fanfold serve` in Chromium: watch a run of 64 participants, and operate it."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest
from programs import program

from fanfold.page.users import set_user
from tests.serving.served import ROOT, ServedFederation

sys.path.insert(0, str(ROOT / "docs"))
from browser import Browser

pytestmark = pytest.mark.slow
MANY = 64
PASSWORD = "a good password"
LIGHT = "benchmarks.identity:Small"
LOG_IN = """
document.querySelector('#name').value = arguments[0];
document.querySelector('#password').value = arguments[1];
document.querySelector('form.login button').click();
"""
SHORT = "document.querySelectorAll('.answer .short')"


@pytest.fixture
def browser() -> Iterator[Any]:
    for name, package in (("chromium", "chromium"), ("chromedriver", "chromium-driver")):
        program(name, package=package)
    with Browser() as opened:
        yield opened


@pytest.fixture
def page(served: ServedFederation) -> str:
    """The address of a service's page, whose users are ada, an operator, and bo, a viewer."""
    users = served.folder / "users.json"
    set_user(users, "ada", "operator", PASSWORD)
    set_user(users, "bo", "viewer", PASSWORD)
    served.serve("--page-port=0", f"--page-users={users}")
    log = served.folder / "serve.log"
    served.wait_for(lambda: '"page_served"' in log.read_text())
    line = next(each for each in log.read_text().splitlines() if '"page_served"' in each)
    return line.rpartition('"url": "')[2].partition('"')[0]


@pytest.fixture
def light(served: ServedFederation) -> Iterator[None]:
    """So many participants without torch, of the run `big`."""
    command = [sys.executable, "-m", "benchmarks.light", f"--count={MANY}"]
    command.append(f"--federation={served.name}.run.big")
    environment = os.environ | {"FANFOLD_BROKER_URL": served.url}
    with subprocess.Popen(command, cwd=ROOT, env=environment) as participants:
        yield
        participants.terminate()


def log_in(browser: Any, page: str, name: str, password: str) -> None:
    browser.open(page)
    browser.wait_for("document.querySelector('#password')")
    browser.run(LOG_IN, name, password)


def press(browser: Any, action: str) -> None:
    selector = f"#actions button[value={action}]"
    browser.wait_for(f"document.querySelector('{selector}')")
    browser.run(f"document.querySelector('{selector}').click()")


@pytest.mark.timeout(400)
def test_a_run_of_64_is_watched_and_operated(
    served: ServedFederation, page: str, light: None, browser: Any
) -> None:
    """Paused, gone on with, a round closed early, stopped, and its model pulled."""
    served.ask(
        *("submit", "--name=big", f"--task={LIGHT}", f"--min-participants={MANY}"),
        *("--rounds=100000", "--mode=buffered", "--goal=48"),
    )
    browser.open(page)
    log_in(browser, page, "ada", PASSWORD)
    browser.wait_for("document.querySelector('#lanes') || document.querySelector('#runs a')")
    browser.open(f"{page}runs/big")
    browser.wait_for(f"document.querySelectorAll('#lanes tbody tr').length === {MANY}", 120)
    browser.wait_for(f"{SHORT}[0]?.textContent === 'Yes'", 60)

    late = [lateness(served, browser) for _ in range(5)]
    assert min(late) < 1.0, late  # seconds; the machine may be busy once

    press(browser, "pause")
    browser.wait_for("document.querySelector('.said')?.textContent.includes('big pauses')")
    browser.wait_for(f"{SHORT}[0]?.textContent === 'It is paused'", 60)
    assert served.record("big")["reason"] == "paused by ada at the page"
    press(browser, "go-on")
    browser.wait_for(f"{SHORT}[0]?.textContent === 'Yes'", 120)
    press(browser, "close-round")
    browser.wait_for("document.querySelector('.said')?.textContent.includes('closes its round')")
    press(browser, "revoke")
    browser.wait_for("document.querySelector('.note:not(#lost)')?.textContent.includes('light-0')")
    press(browser, "stop")
    served.wait_for_state("big", "stopped")
    browser.wait_for("document.querySelector('#models a[download]')", 60)
    asked = {each for each in browser.requested() if each.startswith("http")}
    assert [each for each in asked if not each.startswith(page)] == []
    got = browser.run(
        "return fetch(document.querySelector('#models a').href)"
        ".then((answer) => answer.arrayBuffer()).then((bytes) => bytes.byteLength)"
    )
    model = served.registry / "runs" / "big" / "model.safetensors"
    assert got == model.stat().st_size


def lateness(served: ServedFederation, browser: Any) -> float:
    """Return how long an event takes from the coordinator's disk to the screen, in seconds."""
    shown = (
        "return Number(document.querySelector('#truth').textContent"
        ".match(/version\\s*([\\d,]+)/)[1].replaceAll(',', ''))"
    )
    history = served.registry / "runs" / "big" / "history.jsonl"
    before = history.read_text().count('"round_closed"')
    served.wait_for(lambda: history.read_text().count('"round_closed"') > before)
    written = time.monotonic()
    while browser.run(shown) <= before:
        assert time.monotonic() < written + 60
    return round(time.monotonic() - written, 2)


def test_a_viewer_sees_no_buttons_and_a_wrong_password_is_refused(
    served: ServedFederation, page: str, browser: Any
) -> None:
    """Five times in words, then with a pause."""
    served.submit("waits", "--rounds=2")
    for _ in range(5):
        log_in(browser, page, "bo", "not his password")
        browser.wait_for("document.querySelector('.note')?.textContent.includes('is wrong')")
    log_in(browser, page, "bo", PASSWORD)
    browser.wait_for("document.querySelector('.note')?.textContent.includes('try again in')")
    log_in(browser, page, "ada", PASSWORD)
    browser.wait_for("document.querySelector('#actions')")
    browser.wait_for("document.querySelector('#actions button')")


def test_lineage_is_shown_and_a_viewer_may_not_act(
    served: ServedFederation, page: str, browser: Any
) -> None:
    """Three generations, each a link; an operator's action of a viewer is refused in words."""
    served.participant(0, 1)
    served.submit("one", "--rounds=2", "--min-participants=1")
    served.wait_for_state("one", "finished")
    served.submit("two", "--rounds=2", "--min-participants=1", "--from=one@best")
    served.wait_for_state("two", "finished")
    served.submit("three", "--rounds=2", "--min-participants=1", "--from=two")
    served.wait_for_state("three", "finished")

    log_in(browser, page, "bo", PASSWORD)
    browser.wait_for("document.querySelectorAll('#runs tbody tr').length === 3")
    browser.open(f"{page}runs/three")
    browser.wait_for("document.querySelectorAll('.lineage li').length === 2")
    links = "return [...document.querySelectorAll('.lineage a')].map((each) => each.textContent)"
    assert browser.run(links) == ["two", "one"]
    assert browser.run("return document.querySelector('#act')") is None
    refused = browser.run(
        "const token = document.querySelector('[name=token]').value;"
        "return fetch('/runs/three/do', {method: 'POST', "
        "body: new URLSearchParams({token, action: 'stop'})})"
        ".then(async (answer) => [answer.status, await answer.text()])"
    )
    assert refused[0] == 403
    assert "bo is a viewer: ask an operator" in refused[1]

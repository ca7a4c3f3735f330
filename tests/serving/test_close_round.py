"""A round that is closed early, by a command and at the page."""

import json
import re
import time
from typing import Any

import httpx
import pytest

from fanfold.page.users import set_user

TASK = "tests.federation.tiny_tasks:Slow"
LONG_SECONDS = 600
PASSWORD = "a good password"


@pytest.mark.slow
def test_a_round_closes_long_before_its_deadline_with_the_updates_that_are_there(
    served: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second participant still trains; the goal is both, and the deadline ten minutes away."""
    users = served.folder / "users.json"
    set_user(users, "ada", "operator", PASSWORD)
    served.serve("--page-port=0", f"--page-users={users}")
    for index, seconds in enumerate((0, LONG_SECONDS)):
        monkeypatch.setenv("SLOW_SECONDS", str(seconds))
        served.participant(index, 2, f"--allow={TASK}")
    began = time.monotonic()
    served.ask(
        *("submit", "--name=early", f"--task={TASK}", "--rounds=2", "--min-participants=2"),
        f"--deadline-seconds={LONG_SECONDS}",
    )
    counted = served.registry / "runs" / "early" / "events.jsonl"

    def has_update(version: int) -> bool:
        text = counted.read_text() if counted.exists() else ""
        told = [json.loads(line) for line in text.splitlines() if '"update_counted"' in line]
        return any(each["base_version"] == version for each in told)

    served.wait_for(lambda: has_update(0))
    assert served.state("early")["version"] is None  # nothing closes it by itself
    served.ask("close-round", "early")
    served.wait_for(lambda: has_update(1))
    close_at_the_page(page_of(served), "early")
    served.wait_for_state("early", "finished")

    assert time.monotonic() - began < LONG_SECONDS / 2
    rounds = served.state("early")["closed_rounds"]
    assert [each["updates"] for each in rounds] == [1, 1]
    assert [each["participant"] for each in served.state("early")["participants"]] == ["p0"]


def page_of(served: Any) -> str:
    """The page's address."""
    log = served.folder / "serve.log"
    line = next(each for each in log.read_text().splitlines() if '"page_served"' in each)
    return str(json.loads(line)["url"])


def close_at_the_page(url: str, run: str) -> None:
    with httpx.Client(base_url=url, follow_redirects=True, timeout=30) as page:
        page.post("/login", data={"name": "ada", "password": PASSWORD})
        answer = page.post(
            f"/runs/{run}/do",
            data={"token": token(page.get(f"/runs/{run}").text), "action": "close-round"},
        )
    assert f"{run} closes its round with the updates that it has" in answer.text


def token(form: str) -> str:
    """The token against forms of other sites."""
    found = re.search(r'name="token" value="([^"]*)"', form)
    assert found is not None
    return found[1]

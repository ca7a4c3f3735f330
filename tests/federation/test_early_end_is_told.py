"""Facts about a run that ends early: everybody hears why."""

import json
import threading
import time
from typing import Any

import pytest

from fanfold.monitoring.status.settings import StatusSettings
from fanfold.monitoring.status.watch import watch


@pytest.mark.slow
def test_participants_and_who_watches_hear_why_a_run_ended(
    live: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    coordinator = live.coordinator("Tiny", rounds=100_000, until="loss:9", min_participants=2)
    first = live.participant("Tiny", 0, 2)
    coordinator.wait_for("participant_joined")
    settings = StatusSettings(federation=live.name, broker=(live.url,))
    stops: list[Any] = []
    watching = threading.Thread(
        target=watch,
        args=(settings,),
        kwargs={"json": True, "repeat": True, "on_ready": stops.append},
        daemon=True,
    )
    watching.start()
    wait_for_status(capsys, lambda document: len(document["cannot_see"]) == 1)  # it listens
    live.participant("Tiny", 1, 2)
    outcome = coordinator.result.result(90)
    (ended,) = coordinator.all("ends_early")
    assert ended["reason"] == outcome.reason
    assert outcome.reason.endswith("(--until loss:9)")
    (over,) = first.wait_for("run_over")
    assert over["reason"] == outcome.reason
    told = wait_for_status(capsys, lambda document: document["ended"])
    assert (told["ended"], told["version"]) == (outcome.reason, outcome.rounds)
    assert told["round"] is None
    stops[0]("enough")
    watching.join(30)
    assert not watching.is_alive()


def wait_for_status(capsys: pytest.CaptureFixture[str], condition: Any) -> dict[str, Any]:
    """Read what is watched until it is so; a test's timeout ends it otherwise."""
    while True:
        for line in capsys.readouterr().out.splitlines():
            document: dict[str, Any] = json.loads(line) if line.startswith("{") else {}
            if "queues" in document and condition(document):
                return document
        time.sleep(0.05)

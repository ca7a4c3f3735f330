"""Who goes on taking part while its login is replaced and the earlier one removed."""

from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from nodes import BrokerNode
from typer.testing import CliRunner

from fanfold.cli.commands import app
from fanfold.sealing.audit_trail import checked_lines
from tests.federation.conftest import LiveFederation, Process, Service

ANNA = "anna-rotates"


@pytest.fixture
def access(
    live: LiveFederation, broker_node: BrokerNode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Any:
    """Type a command of access as its administrator, in an empty folder with an audit trail."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FANFOLD_ROSTER", "hub")
    login = f"//{broker_node.user}:{broker_node.password}@"
    address = str(broker_node.management_url).replace("//", login)
    monkeypatch.setenv("FANFOLD_MANAGEMENT_URL", address)
    broker = urlsplit(live.url)

    enrolled: set[str] = set()

    def run(*arguments: str) -> str:
        if arguments[0] == "enroll":
            enrolled.add(arguments[1].removeprefix("--"))
        place = ["--federation", live.name, "--vhost", broker.path[1:]]
        made = ["--broker", f"amqp://{broker.hostname}:{broker.port}{broker.path}"]
        more = [*place, *made] if arguments[0] == "enroll" else place
        ended = CliRunner().invoke(app, [*arguments, *more])
        assert ended.exit_code == 0, ended.exception
        return ended.output

    CliRunner().invoke(app, ["identity", "hub"])
    yield run
    for owner in enrolled:
        run("revoke", owner)


def goes_on(participant: Process, coordinator: Service) -> None:
    """Read what it says until it has trained a version that there is not yet."""
    coming = len(coordinator.all("round_closed")) + 3
    participant.wait_for("update_sent", version=coming)


def a_participant(live: LiveFederation, file: Path) -> Process:
    return live.process("participant", "Tiny", f"--credentials={file}", "--reconnect-seconds=0.5")


def a_region(live: LiveFederation, file: Path) -> Process:
    live.participant("Tiny", federation="below")
    return live.command(
        *("region", f"--upstream-credentials={file}", "--federation=below", "--json"),
        *(f"--out={file.parent / 'below'}", "--reconnect-seconds=0.5"),
    )


def a_coordinator(live: LiveFederation, file: Path, login: str) -> Process:
    live.participant("Tiny")
    return live.process(
        "coordinator",
        "Tiny",
        *(f"--credentials={file}", f"--shared-login={login}", f"--out={live.out}"),
        *("--rounds=10000", "--reconnect-seconds=0.5"),
    )


def a_region_with_a_login_below(live: LiveFederation, file: Path, login: str) -> Process:
    above = {"federation": "above", "rounds": 10_000, "min_participants": 1}
    live.coordinator("Tiny", max_region_updates=1, **above)
    live.participant("Tiny")
    return live.command(
        *("region", "--id=north", "--upstream-federation=above", f"--upstream-broker={live.url}"),
        *(f"--credentials={file}", f"--shared-login={login}", f"--out={live.out / 'north'}"),
        *("--json", "--reconnect-seconds=0.5"),
    )


@pytest.mark.slow
@pytest.mark.parametrize("start", [a_coordinator, a_region_with_a_login_below])
def test_rounds_go_on_while_the_login_of_their_coordinator_is_replaced(
    live: LiveFederation,
    broker_node: BrokerNode,
    access: Any,
    tmp_path: Path,
    start: Callable[[LiveFederation, Path, str], Process],
) -> None:
    """It looks at its file before it connects again, as a participant does."""
    access("enroll", "--coordinator")
    file = tmp_path / "coordinator.credentials.json"
    process = start(live, file, broker_node.user)
    process.wait_for("round_closed", round=3)
    access("enroll", "--coordinator", "--rotate")
    (tmp_path / "coordinator.2.credentials.json").replace(file)
    access("revoke", "coordinator", "--old")
    answered = len(live.services[-1].all("update_sent"))
    process.wait_for("round_closed", round=answered + 3)
    code, told = process.terminate()
    assert "connection lost" in told
    assert code in {0, 1}, told  # a coordinator that is stopped has not finished its run


@pytest.mark.slow
@pytest.mark.parametrize("start", [a_participant, a_region])
def test_training_goes_on_while_a_login_is_replaced(
    live: LiveFederation,
    broker_node: BrokerNode,
    access: Any,
    tmp_path: Path,
    start: Callable[[LiveFederation, Path], Process],
) -> None:
    """No restart, no round without it, and each step stands in the audit trail with its time."""
    access("enroll", ANNA)
    coordinator = live.coordinator(
        "Tiny", rounds=10_000, min_participants=1, require_login=True, max_region_updates=1
    )
    file = tmp_path / f"{ANNA}.credentials.json"
    anna = start(live, file)
    anna.wait_for("update_sent", version=3)

    assert "has another login, anna-rotates.2" in access("enroll", ANNA, "--rotate")
    goes_on(anna, coordinator)
    (tmp_path / f"{ANNA}.2.credentials.json").replace(file)
    goes_on(anna, coordinator)
    assert "anna-rotates can log in no more" in access("revoke", ANNA, "--old")
    goes_on(anna, coordinator)
    code, told = anna.terminate()
    assert code == 0
    assert "connection lost" in told
    assert not [each for each in coordinator.all("update_refused") if "speak" in each["reason"]]
    trail = [line.record for line in checked_lines(tmp_path / "hub" / "audit.jsonl")]
    assert [(each["event"], each["login"]) for each in trail] == [
        ("login made", ANNA),
        ("login made", f"{ANNA}.2"),
        ("login removed", ANNA),
    ]
    assert all(each["time"].endswith("Z") for each in trail)

"""`fanfold identity`, `enroll --identity`, `rotate`, `revoke` and `audit`, as people type them."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from nodes import BrokerNode
from typer.testing import CliRunner

from fanfold.access.credentials import Credentials
from fanfold.cli.commands import app
from fanfold.schemas.errors import InvalidInputError
from fanfold.sealing.audit_trail import checked_lines
from fanfold.sealing.identity import Identity, PublicIdentity
from fanfold.sealing.roster import read_roster

Run = Callable[..., Any]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command in an empty folder, with the coordinator's keys in `hub`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FANFOLD_MANAGEMENT_URL", raising=False)
    monkeypatch.setenv("FANFOLD_ROSTER", "hub")

    def invoke(*arguments: str) -> Any:
        return CliRunner().invoke(app, [*arguments])

    assert "compare: " in invoke("identity", "hub").output
    return invoke


def test_keys_come_onto_the_roster_change_and_leave_it(run: Run, tmp_path: Path) -> None:
    """Each step is in the audit trail, by whoever typed it."""
    for name in ("anna", "anna-2"):
        run("identity", name)
    assert "anna is on the roster" in run("enroll", "anna", "--identity", "anna").output
    assert read_roster(tmp_path / "hub").members == {"anna": PublicIdentity.read(tmp_path / "anna")}
    rotated = run("rotate", "anna", "--identity", "anna-2/identity.pub")
    assert PublicIdentity.read(tmp_path / "anna-2").fingerprint in rotated.output
    assert "off the roster" in run("revoke", "anna").output
    lines = list(checked_lines(tmp_path / "hub" / "audit.jsonl"))
    assert [line.record["event"] for line in lines] == ["enrolled", "rotated", "revoked"]
    assert all("@" in line.record["by"] for line in lines)

    told = run("audit", "hub").output
    assert told.count("\n") == 4
    assert f"the last hash is {lines[-1].chain}" in told
    assert run("audit", "hub", "--holds", lines[1].chain).exception is None
    lost = run("audit", "hub", "--holds", "0" * 64)
    assert "lines were cut off since" in str(lost.exception)


def test_what_is_missing_is_named(run: Run) -> None:
    assert "--roster DIR" in str(run("rotate", "anna").exception)
    refused = run("enroll", "anna", "--coordinator", "--identity", "hub")
    assert isinstance(refused.exception, InvalidInputError)
    assert "--identity is a participant's" in str(refused.exception)
    refused = run("enroll", "anna", "--identity", "hub", "--roster", "new")
    assert "--roster new has no identity.pub; a roster is in" in str(refused.exception)
    assert "holds an identity already" in str(run("identity", "hub").exception)


def test_the_coordinators_own_keys_change_in_place(run: Run, tmp_path: Path) -> None:
    """The roster stays; both files hold the new keys, and the audit trail says so."""
    run("identity", "anna")
    run("enroll", "anna", "--identity", "anna")
    before, members = Identity.read(tmp_path / "hub"), read_roster(tmp_path / "hub").members
    told = run("rotate", "--coordinator").output
    after = Identity.read(tmp_path / "hub")
    assert after.public not in (before.public, None)
    assert PublicIdentity.read(tmp_path / "hub") == after.public
    assert after.public.fingerprint in told
    assert (tmp_path / "hub" / "identity.json").stat().st_mode & 0o777 == 0o600
    assert read_roster(tmp_path / "hub").members == members
    last = list(checked_lines(tmp_path / "hub" / "audit.jsonl"))[-1].record
    assert (last["event"], last["participant"]) == ("rotated", "coordinator")
    refused = run("rotate", "anna", "--coordinator", "--identity", "anna")
    assert "or the roster alone, with --coordinator" in str(refused.exception)


@pytest.fixture
def vhost(broker_node: BrokerNode) -> Iterator[str]:
    broker_node.create_vhost("identities")
    yield "identities"
    broker_node.delete_vhost("identities")


def test_credentials_pin_the_coordinators_identity(
    run: Run, broker_node: BrokerNode, vhost: str, tmp_path: Path
) -> None:
    """The login and the keys come and go together."""
    login = f"{broker_node.user}:{broker_node.password}"
    address = str(broker_node.management_url).replace("//", f"//{login}@")
    place = ("--management", address, "--federation", "ward-3", "--vhost", vhost)
    run("identity", "gus")
    done = run("enroll", "gus", "--identity", "gus", *place)
    assert "gus is enrolled in ward-3" in done.output
    made = Credentials.read(tmp_path / "gus.credentials.json")
    hub = PublicIdentity.read(tmp_path / "hub").text()
    assert made.coordinator_identity == hub
    assert "gus is on the roster already" in str(
        run("enroll", "gus", "--identity", "gus", "--out", "again", *place).exception
    )
    told = run("revoke", "gus", *place).output
    assert "off the roster" in told
    assert "its login and its queue are gone" in told
    assert read_roster(tmp_path / "hub").members == {}

"""`fanfold enroll` and `fanfold revoke`, as an operator types them, at a real broker."""

import os
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from nodes import BrokerNode
from typer.testing import CliRunner

from fanfold.access.credentials import Credentials
from fanfold.access.management import ManagementClient
from fanfold.api.reading import read, rereading
from fanfold.cli.commands import app
from fanfold.coordinator.settings import CoordinatorSettings
from fanfold.keeper.settings import KeeperSettings
from fanfold.operating.settings import OperatorSettings
from fanfold.participant.settings import ParticipantSettings
from fanfold.schemas.errors import InvalidInputError
from fanfold.schemas.names import FederationNames
from fanfold.sealing.identity import PUBLIC_FILE, Identity

ROOT = Path(__file__).parents[2]
FEDERATION, VHOST = "ward-9", "administration"
Run = Callable[..., Any]


@pytest.fixture(scope="module")
def management(broker_node: BrokerNode) -> Iterator[str]:
    """The management address with the administrator's login, and a vhost."""
    broker_node.create_vhost(VHOST)
    login = f"{broker_node.user}:{broker_node.password}"
    yield str(broker_node.management_url).replace("//", f"//{login}@")
    broker_node.delete_vhost(VHOST)


@pytest.fixture
def run(management: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command in an empty folder, with the address in the environment."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FANFOLD_MANAGEMENT_URL", management)

    def invoke(*arguments: str) -> Any:
        place = ("--federation", FEDERATION, "--vhost", VHOST)
        return CliRunner().invoke(app, [*arguments, *place])

    return invoke


def test_a_participant_is_enrolled_and_revoked(run: Run, management: str, tmp_path: Path) -> None:
    """Its credentials lie in a file of its owner's; afterwards login and queue are gone."""
    api, queue = ManagementClient(management), FederationNames(FEDERATION).participant_queue("anna")
    assert "anna is enrolled in ward-9" in run("enroll", "anna").output
    path = tmp_path / "anna.credentials.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert Credentials.read(path).role == "participant"
    assert api.get("queues", VHOST, queue) is not None

    again = run("enroll", "anna")
    assert isinstance(again.exception, InvalidInputError)
    assert "is there already" in str(again.exception)

    assert "anna is revoked" in run("revoke", "anna").output
    assert api.get("users", "anna") is None
    assert api.get("queues", VHOST, queue) is None


def test_a_file_is_for_the_command_that_it_was_made_for(run: Run, tmp_path: Path) -> None:
    """The coordinator's is refused by `fanfold participant`, and the other way round."""
    run("enroll", "--coordinator", "chief-9")
    run("enroll", "bert")
    chief, bert = tmp_path / "chief-9.credentials.json", tmp_path / "bert.credentials.json"

    assert read(CoordinatorSettings, {}, chief, role="coordinator").require_login
    assert read(ParticipantSettings, {}, bert, role="participant").id == "bert"
    with pytest.raises(InvalidInputError, match="is for `fanfold coordinator`, and one for"):
        read(ParticipantSettings, {"id": "bert"}, chief, role="participant")
    with pytest.raises(InvalidInputError, match="is for `fanfold participant`, and one for"):
        read(CoordinatorSettings, {}, bert, role="coordinator")
    for login in ("chief-9", "bert"):
        run("revoke", login)


def test_a_file_is_read_again_for_the_same_participant_alone(run: Run, tmp_path: Path) -> None:
    """Its other login is taken; a file that is another's now, or damaged, is refused in words."""
    for login in ("olga", "pia"):
        run("enroll", login)
    path = tmp_path / "olga.credentials.json"
    settings = read(ParticipantSettings, {}, path, role="participant")
    reread = rereading(settings, {}, path, role="participant")
    assert reread is not None
    assert run("enroll", "olga", "--rotate").exit_code == 0
    (tmp_path / "olga.2.credentials.json").replace(path)
    assert reread().id == "olga"
    assert "//olga.2:" in reread().broker[0]
    assert "olga.2" not in settings.broker[0]
    (tmp_path / "pia.credentials.json").replace(path)
    with pytest.raises(InvalidInputError, match="for another participant or federation now"):
        reread()
    path.write_text("{")
    with pytest.raises(InvalidInputError, match="is not a file that `fanfold enroll` made"):
        reread()
    for login in ("olga", "pia"):
        run("revoke", login)


def test_keys_and_logins_are_replaced_by_commands_of_their_own(run: Run, tmp_path: Path) -> None:
    """And a login that is made for nothing is removed: its password would be in no file."""
    refused = run("enroll", "quin", "--rotate", "--identity", "k.pub", "--roster", "hub")
    assert "give quin other keys with `fanfold rotate quin" in str(refused.exception)
    assert "leave out --rotate" in str(run("enroll", "quin", "--rotate").exception)
    run("enroll", "quin")
    (tmp_path / "empty").mkdir()
    lost = run("enroll", "quin", "--rotate", "--out", "empty/nowhere/file")
    assert "cannot be written" in str(lost.exception)
    assert "no earlier login of 'quin'" in str(run("revoke", "quin", "--old").exception)
    assert run("revoke", "quin").exit_code == 0


def test_a_failed_enrolment_leaves_a_queue_that_was_there(
    run: Run, management: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It holds somebody's version; what was made for the enrolment is gone."""
    api, names = ManagementClient(management), FederationNames(FEDERATION)
    api.put("queues", VHOST, names.participant_queue("cleo"), body={"durable": True})
    # What the broker says to a limit that is no number.
    monkeypatch.setattr("fanfold.access.rights.PARTICIPANT_LIMITS", {"max-connections": "many"})

    assert run("enroll", "cleo").exception is not None
    assert run("enroll", "dora").exception is not None
    assert api.get("users", "cleo") is None
    assert api.get("queues", VHOST, names.participant_queue("cleo")) is not None
    assert api.get("queues", VHOST, names.participant_queue("dora")) is None


@pytest.mark.parametrize("command", ["enroll", "revoke"])
def test_passwords_are_not_sent_in_clear_to_another_machine(run: Run, command: str) -> None:
    """Unless an option says that this is insecure; nothing answers at this address."""
    address = ("--management", "http://admin:hush@192.0.2.1:9")
    refused = run(command, "eve", *address)
    assert isinstance(refused.exception, InvalidInputError)
    assert "unencrypted to 192.0.2.1" in str(refused.exception)
    assert "hush" not in str(refused.exception)


def test_what_is_missing_is_asked_for(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """The id, and where the broker is."""
    assert "name the participant" in str(run("enroll").exception)
    monkeypatch.delenv("FANFOLD_MANAGEMENT_URL")
    assert "name the management API" in str(run("revoke", "eve").exception)


def test_the_password_may_come_from_the_environment(
    run: Run, broker_node: BrokerNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that it stands in no command line; `-` prints the credentials instead of writing them."""
    address = str(broker_node.management_url).replace("//", f"//{broker_node.user}@")
    monkeypatch.setenv("FANFOLD_MANAGEMENT_PASSWORD", broker_node.password)
    printed = run("enroll", "fay", "--management", address, "--out", "-").output
    assert Credentials.model_validate_json(printed).login == "fay"
    run("revoke", "fay")


def test_the_credentials_name_the_public_address(run: Run, management: str, tmp_path: Path) -> None:
    """With the vhost in it, whether the address had it or not; the broker need not be there."""
    for login, address in (("gil", "amqps://broker.example:5671"), ("hal", f"amqps://h/{VHOST}")):
        assert run("enroll", login, "--public-broker", address).exit_code == 0
        (found,) = Credentials.read(tmp_path / f"{login}.credentials.json").brokers
        assert found == f"{address.removesuffix(f'/{VHOST}')}/{VHOST}"
        run("revoke", login)


@pytest.fixture
def narrow(management: str) -> Iterator[str]:
    """The address with an administrator who has rights in one vhost alone."""
    api = ManagementClient(management)
    api.put("users", "narrow", body={"password": "n", "tags": "administrator"})
    api.put("permissions", VHOST, "narrow", body={"configure": ".*", "write": ".*", "read": ".*"})
    parts = urlsplit(management)
    yield f"http://narrow:n@{parts.hostname}:{parts.port}"
    api.delete("users", "narrow")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--vhost", "/"), "no rights in the broker's vhost '/'; name the federation's with"),
        (("--public-broker", "amqps://h/other"), f"it has rights in: {VHOST}"),
        (("--public-broker", "amqps://h/a", "--vhost", "b"), "name 2 vhosts (a, b)"),
        (("--public-broker", "here:5671"), "must look like"),
    ],
)
def test_a_wrong_vhost_is_told_in_words(
    narrow: str, tmp_path: Path, options: tuple[str, ...], words: str
) -> None:
    """And not by a path of the API; with exit code 2, and nothing made."""
    ended = subprocess.run(
        [sys.executable, "-m", "fanfold", "enroll", "ida", "--management", narrow, *options],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 2
    assert words in ended.stderr
    assert "/api/" not in ended.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_only_vhost_of_an_administrator_need_not_be_named(
    narrow: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in compose, where the operator has rights in the federation's alone."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FANFOLD_MANAGEMENT_URL", narrow)
    assert CliRunner().invoke(app, ["enroll", "joe"]).exit_code == 0
    (address,) = Credentials.read(tmp_path / "joe.credentials.json").brokers
    assert address.endswith(f"/{VHOST}")
    assert CliRunner().invoke(app, ["revoke", "joe"]).exit_code == 0


def test_an_operator_is_enrolled_with_credentials_of_its_own(run: Run, tmp_path: Path) -> None:
    """They open the commands of operators, and no service."""
    assert "ada is enrolled in ward-9" in run("enroll", "ada", "--operator").output
    path = tmp_path / "ada.credentials.json"
    assert read(OperatorSettings, {}, path).federation == FEDERATION
    with pytest.raises(InvalidInputError, match="is for `fanfold submit`"):
        read(ParticipantSettings, {}, path, role="participant")
    both = run("enroll", "eve", "--operator", "--coordinator")
    assert "enrol one at a time" in str(both.exception)
    run("revoke", "ada")


def test_a_keeper_is_enrolled_by_its_public_line(run: Run, tmp_path: Path) -> None:
    """Its login is called after its keys, as its queue is; its credentials open nothing else."""
    keeper = Identity.generate()
    keeper.write(tmp_path / "keys")
    login = f"keeper-{keeper.public.name}"
    told = run("enroll", "--keeper", str(tmp_path / "keys" / PUBLIC_FILE)).output
    assert f"{login} is enrolled in ward-9" in told
    path = tmp_path / f"{login}.credentials.json"
    folders = dict.fromkeys(("identity", "roster", "state_dir"), tmp_path)
    assert read(KeeperSettings, folders, path, role="keeper").federation == FEDERATION
    with pytest.raises(InvalidInputError, match="is for `fanfold keeper`"):
        read(ParticipantSettings, {}, path, role="participant")
    run("revoke", login)

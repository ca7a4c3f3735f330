"""A masked federation in containers, whose owners set variables and edit no file."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.containers.conftest import Compose, docker

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]
HUB = (
    "compose.yaml",
    "compose.tls.yaml",
    "compose.public.yaml",
    "compose.sealed-coordinator.yaml",
    "compose.masked-coordinator.yaml",
)
HOSPITAL = ("compose.private.yaml", "compose.sealed.yaml", "compose.masked.yaml")
HOSPITALS = ("aarhus", "bergen", "cork")
LEAST = str(len(HOSPITALS))
PORT = "25673"
SERVICE_USER = 10001
ROUNDS = 8
Make = Callable[..., Compose]


class Owners:
    """Everybody's keys in one folder, which would be many."""

    def __init__(self, make: Make, folder: Path) -> None:
        self._make = make
        self._folder = folder
        for name in ("coordinator", "keeper", *HOSPITALS):
            self._fanfold("identity", name)
        (folder / "data").mkdir()
        gateway = docker(
            "network", "inspect", "bridge", "-f", "{{(index .IPAM.Config 0).Gateway}}"
        ).strip()
        self._address = f"amqps://{gateway}:{PORT}"
        self.hub = make(
            *HUB,
            FANFOLD_ROUNDS=str(ROUNDS),
            FANFOLD_MIN_PARTICIPANTS=LEAST,
            FANFOLD_MASKS_AT_LEAST=LEAST,
            FANFOLD_IDENTITY=str(folder / "coordinator"),
            FANFOLD_KEEPER=self._keeper_line,
            FANFOLD_PUBLIC_HOST=gateway,
            FANFOLD_PUBLIC_PORT=PORT,
        )

    @property
    def _keeper_line(self) -> str:
        return str(self._folder / "keeper" / "identity.pub")

    def enroll(self) -> None:
        """Make all logins at the broker, and the rosters of coordinator and keeper."""
        self.hub("up", "-d", "--no-build", "broker")
        broker = self.hub.container("broker")
        self.hub.until(
            lambda: docker("inspect", "-f", "{{.State.Health.Status}}", broker) == "healthy\n"
        )
        port = self.hub("port", "broker", "15672").strip().rsplit(":", 1)[1]
        login = (
            f"--management=http://operator@127.0.0.1:{port}",
            f"--public-broker={self._address}",
        )
        password = {"FANFOLD_MANAGEMENT_PASSWORD": self._secret("operator-password").strip()}
        out = "--out=keeper.credentials.json"
        self._fanfold("enroll", f"--keeper={self._keeper_line}", out, *login, **password)
        for name in HOSPITALS:
            keys = f"--identity={name}/identity.pub"
            self._fanfold("enroll", name, keys, "--roster=coordinator", *login, **password)
            self._fanfold("enroll", name, keys, "--roster=keeper")
        (self._folder / "ca.pem").write_text(self._secret("ca.pem"))
        for path in self._folder.rglob("*"):
            os.chown(path, SERVICE_USER, SERVICE_USER)

    def keeper(self) -> Compose:
        """The keeper, at its owner's."""
        folder = str(self._folder / "keeper")
        return self._elsewhere(
            "keeper", "compose.keeper.yaml", FANFOLD_ROSTER=folder, FANFOLD_MASKS_AT_LEAST=LEAST
        )

    def hospital(self, name: str) -> Compose:
        """A participant, at its owner's."""
        data = str(self._folder / "data")
        return self._elsewhere(name, *HOSPITAL, FANFOLD_DATA=data, FANFOLD_KEEPER=self._keeper_line)

    def _elsewhere(self, name: str, *files: str, **variables: str) -> Compose:
        return self._make(
            *files,
            FANFOLD_CREDENTIALS_FILE=str(self._folder / f"{name}.credentials.json"),
            FANFOLD_CA_FILE=str(self._folder / "ca.pem"),
            FANFOLD_IDENTITY=str(self._folder / name),
            **variables,
        )

    def _secret(self, name: str) -> str:
        return self.hub("run", "--rm", "-T", "secrets", "cat", f"/run/fanfold/{name}")

    def _fanfold(self, *arguments: str, **environment: str) -> None:
        command = [sys.executable, "-m", "fanfold", *arguments]
        subprocess.run(command, cwd=self._folder, env=os.environ | environment, check=True)


def test_masked_rounds_close_with_their_keeper_and_wait_for_it(
    compose: Make, tmp_path: Path
) -> None:
    """Killed and started again, it goes on where its journal ends; every sum is of everybody."""
    owners = Owners(compose, tmp_path)
    owners.enroll()
    keeper, hub = owners.keeper(), owners.hub
    keeper("up", "-d", "--no-build")
    hub.up(0)
    for name in HOSPITALS:
        owners.hospital(name)("up", "-d", "--no-build")
    hub.until_round(2)

    keeper.kill("keeper")
    hub.until(lambda: bool(hub.events("waiting_for_keepers", "coordinator")))
    waits_since = hub.rounds()[-1][0]
    keeper.start("keeper")
    hub.until(hub.is_finished)

    assert waits_since < ROUNDS
    rounds = hub.rounds()
    assert [(n, updates) for n, updates, _ in rounds] == [(n, 3) for n in range(1, ROUNDS + 1)]
    assert max(accuracy for _, _, accuracy in rounds) >= 0.9
    told = [each for each in keeper.events("set_answered", "keeper") if each["masks_told"]]
    assert {(each["version"], each["updates"]) for each in told} == {(n, 3) for n in range(ROUNDS)}
    assert keeper.events("set_refused", "keeper") == []

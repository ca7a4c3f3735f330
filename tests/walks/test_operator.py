"""An operator's walk: a clone, a federation, more and fewer, TLS, a hospital elsewhere, a backup.

In real containers, with the commands of docs/operations.md; `make containers` runs it.
"""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.containers.conftest import Compose, docker, need_images, projects

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
ROOT = Path(__file__).parents[2]
TLS = ("compose.yaml", "compose.tls.yaml", "compose.public.yaml")
Make = Callable[..., Compose]


class Walk:
    """One operator's folder, and the federation in it."""

    def __init__(self, make: Make, folder: Path) -> None:
        self.folder = folder
        self.clone = folder / "fanfold"
        subprocess.run(["git", "clone", "--quiet", ROOT, self.clone], check=True)
        self.make = make
        self.given: dict[str, Any] = {
            "deploy": self.clone / "deploy",
            "FANFOLD_MIN_PARTICIPANTS": "4",
            "FANFOLD_DEADLINE_SECONDS": "20",
        }
        self.federation = make("compose.yaml", **self.given)
        self.given["project"] = self.federation.project

    def updates_of_the_last_round(self) -> int:
        rounds = self.federation.rounds()
        return rounds[-1][1] if rounds else 0

    def scale(self, participants: int) -> None:
        self.federation.up(participants)
        self.federation.until(lambda: self.updates_of_the_last_round() == participants)

    def switch_tls_on(self, host: str, port: int) -> None:
        """Run the same command with two files more; who runs has to be started again."""
        before = self.federation.rounds()[-1][0]
        self.given |= {"FANFOLD_PUBLIC_HOST": host, "FANFOLD_PUBLIC_PORT": str(port)}
        self.federation = self.make(*TLS, **self.given)
        self.federation("up", "-d", "--no-build", "--scale", "participant=2")
        self.federation.until_round(before + 2)
        listening = self.federation("exec", "-T", "broker", "rabbitmq-diagnostics", "listeners")
        assert "port: 5671, protocol: amqp/ssl" in listening
        assert "port: 5672" not in listening

    def secret(self, name: str) -> str:
        return self.federation("run", "--rm", "-T", "secrets", "cat", f"/run/fanfold/{name}")

    def enroll(self, hospital: str, address: str) -> Path:
        """Return the credentials file, made through the UI's port on this machine."""
        port = self.federation("port", "broker", "15672").strip().rsplit(":", 1)[1]
        flags = ["--management", f"http://operator@127.0.0.1:{port}", "--public-broker", address]
        subprocess.run(
            [sys.executable, "-m", "fanfold", "enroll", hospital, *flags],
            cwd=self.folder,
            env=os.environ
            | {
                "PYTHONPATH": str(self.clone),
                "FANFOLD_MANAGEMENT_PASSWORD": self.secret("operator-password").strip(),
            },
            check=True,
        )
        credentials = self.folder / f"{hospital}.credentials.json"
        os.chown(credentials, 10001, 10001)
        return credentials

    def volume(self, command: str) -> None:
        """Run a command beside the coordinator's folder /runs and the operator's /backup."""
        mounts = ("-v", f"{self.federation.project}_runs:/runs", "-v", f"{self.folder}:/backup")
        docker("run", "--rm", *mounts, "python:3.11-slim", "sh", "-ec", command)

    def restart_coordinator(self, **variables: str) -> None:
        self.federation = self.make(*TLS, **(self.given | variables))
        flags = ("--no-build", "--no-deps", "--force-recreate")
        self.federation("up", "-d", *flags, "coordinator")


def test_from_a_clone_to_a_hospital_elsewhere_and_back_from_a_backup(
    tmp_path: Path,
) -> None:
    """Nothing is edited by hand but the environment, and no round is left out."""
    need_images()
    with projects() as make:
        take(Walk(make, tmp_path))


def take(walk: Walk) -> None:
    walk.federation.up(4)
    walk.federation.until_round(3)
    for participants in (8, 2):
        walk.scale(participants)

    gateway = docker(
        "network", "inspect", "bridge", "-f", "{{(index .IPAM.Config 0).Gateway}}"
    ).strip()
    port = 25671
    walk.switch_tls_on(gateway, port)
    credentials = walk.enroll("charite", f"amqps://{gateway}:{port}")
    ca_file = walk.folder / "ca.pem"
    ca_file.write_text(walk.secret("ca.pem"))
    (walk.folder / "data").mkdir()
    hospital = walk.make(
        "compose.private.yaml",
        deploy=walk.clone / "deploy",
        FANFOLD_CREDENTIALS_FILE=str(credentials),
        FANFOLD_CA_FILE=str(ca_file),
        FANFOLD_DATA=str(walk.folder / "data"),
    )
    hospital("up", "-d", "--no-build")
    walk.federation.until(lambda: walk.updates_of_the_last_round() == 3)

    walk.federation("stop", "coordinator")
    walk.volume("cp -a /runs /backup/runs")
    for _ in range(2):  # so that participants see epochs that the backup does not know
        walk.restart_coordinator()
        walk.federation.until(lambda: len(walk.federation.rounds()) >= 2)
    walk.federation("stop", "coordinator")
    walk.volume("find /runs -mindepth 1 -delete; cp -a /backup/runs/. /runs/")
    walk.restart_coordinator(FANFOLD_RESTORED="restored")
    walk.federation.until(lambda: walk.updates_of_the_last_round() == 3)
    (restored,) = walk.federation.events("run_restored", "coordinator")
    assert walk.federation.rounds()[0][0] == restored["version"] + 1

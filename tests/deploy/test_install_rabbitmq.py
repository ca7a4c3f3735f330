"""`deploy/install-rabbitmq`, run with a PATH on which only the programs of each story exist."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "deploy" / "install-rabbitmq"


class Machine:
    """A machine with nothing but what is put on it; what is called there leaves its name."""

    def __init__(self, folder: Path) -> None:
        self.programs = folder / "bin"
        self.programs.mkdir()
        self.calls = folder / "calls"
        for name in ("cat", "chmod"):
            (self.programs / name).symlink_to(shutil.which(name) or name)
        # The folders it searches besides PATH may hold the real server of this machine.
        self.script = folder / "install-rabbitmq"
        lines = SCRIPT.read_text().splitlines(keepends=True)
        searching = [line for line in lines if line.lstrip().startswith('PATH="$PATH:')]
        assert len(searching) == 2
        self.script.write_text("".join(line for line in lines if line not in searching))

    def put(self, name: str, body: str) -> None:
        program = self.programs / name
        program.write_text(f'#!/bin/sh\necho "{name} $*" >>"{self.calls}"\n{body}\n')
        program.chmod(0o755)

    def run(self, **environment: str) -> subprocess.CompletedProcess[str]:
        environment["PATH"] = str(self.programs)
        command = ["/bin/sh", str(self.script)]
        return subprocess.run(command, env=environment, check=False, capture_output=True, text=True)

    def called(self) -> list[str]:
        return self.calls.read_text().splitlines() if self.calls.exists() else []


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_a_named_broker_is_enough(machine: Machine) -> None:
    """With FANFOLD_BROKER_URL set there is nothing to install, and nothing is said."""
    machine.put("apt-get", "exit 1")

    done = machine.run(FANFOLD_BROKER_URL="amqp://somewhere")

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert machine.called() == []


def test_an_installed_server_is_enough(machine: Machine) -> None:
    """A rabbitmq-server that is there is neither started nor installed again."""
    machine.put("rabbitmq-server", "exit 1")
    machine.put("apt-get", "exit 1")

    done = machine.run()

    assert (done.returncode, done.stderr) == (0, "")
    assert machine.called() == []


def test_without_any_package_manager_it_names_three_ways(machine: Machine) -> None:
    """Package, container, running broker: one message, and the exit code for wrong input."""
    machine.put("uname", "echo FreeBSD")

    done = machine.run()

    assert done.returncode == 2
    for way in ("apt-get install rabbitmq-server", "docker run", "FANFOLD_BROKER_URL="):
        assert way in done.stderr


def test_without_the_right_to_install_it_names_three_ways(machine: Machine) -> None:
    """A user for whom sudo would ask a password is told what to do, not asked."""
    machine.put("id", "echo 1000")
    machine.put("sudo", "exit 1")
    machine.put("apt-get", "exit 1")

    done = machine.run()

    assert done.returncode == 2
    assert "sudo apt-get install rabbitmq-server" in done.stderr
    assert machine.called() == ["id -u", "sudo -n true"]


def test_with_the_right_to_install_it_goes_on_as_root(machine: Machine) -> None:
    """Where sudo asks for nothing, the script runs itself again through it."""
    machine.put("id", "echo 1000")
    machine.put("sudo", "exit 0")
    machine.put("apt-get", "exit 1")

    assert machine.run().returncode == 0
    assert machine.called() == ["id -u", "sudo -n true", f"sudo -n {machine.script}"]


def test_homebrew_installs_it_on_a_mac(machine: Machine) -> None:
    """On macOS the formula is installed, and its service left alone."""
    machine.put("uname", "echo Darwin")
    server = machine.programs / "rabbitmq-server"
    machine.put("brew", f'echo "#!/bin/sh" >"{server}"; chmod 755 "{server}"')

    done = machine.run()

    assert done.returncode == 0
    assert machine.called() == ["uname -s", "brew install --quiet rabbitmq"]
    assert str(server) in done.stderr


def test_git_keeps_it_executable() -> None:
    """The Makefile runs it by its name."""
    assert os.access(SCRIPT, os.X_OK)

"""Each recipe of docs/recipes.md does what it says, in an empty folder."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from programs import missing, program

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "recipes.md").read_text()
BLOCK = re.compile(r"^```(python|sh)\n(.*?)^```", re.MULTILINE | re.DOTALL)
RECIPES = {
    section.partition("\n")[0]: BLOCK.findall(section) for section in PAGE.split("\n## ")[1:]
}
EMPTY_MACHINE = "A federation over TLS, from an empty machine"
WITH_A_BROKER = "Three hospitals with a CSV file each"


EMPTY = """
hostname localhost
ip link set lo up
for folder in /etc/rabbitmq /var/lib/rabbitmq /var/log/rabbitmq /run; do
    mount -t tmpfs tmpfs $folder
done
chown rabbitmq:rabbitmq /etc/rabbitmq /var/lib/rabbitmq /var/log/rabbitmq
"""
"""Makes a machine, whose mounts, network and processes are its own, one that nobody set up."""


def kitchen(folder: Path) -> dict[str, str]:
    """Return an environment in which the folder has Fanfold, and knows of nothing else."""
    command = folder / "bin" / "fanfold"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m fanfold "$@"\n')
    command.chmod(0o755)
    path = f"{command.parent}:{os.environ['PATH']}"
    environment = os.environ | {"PYTHONPATH": f"{ROOT}:{folder}", "PATH": path}
    return {name: text for name, text in environment.items() if not name.startswith("FANFOLD_")}


def cook(recipe: str, folder: Path) -> list[str]:
    """Save and run the blocks of a recipe in their order; return the lines that they print."""
    environment = kitchen(folder)
    lines = []
    for language, text in RECIPES[recipe]:
        named = re.match(r"# (\w+\.py)\n", text)
        if named:
            (folder / named[1]).write_text(text)
            continue
        shell = [sys.executable, "-"] if language == "python" else ["/bin/sh", "-eu"]
        done = subprocess.run(
            shell,
            input=text,
            cwd=folder,
            env=environment,
            check=False,
            capture_output=True,
            text=True,
            timeout=110,
        )
        assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"
        lines += done.stdout.splitlines()
    return lines


def test_every_recipe_is_tried() -> None:
    assert all(RECIPES.values())
    assert {*TOLD, WITH_A_BROKER, EMPTY_MACHINE} == RECIPES.keys()


TOLD = {
    "Loading the model in plain PyTorch": r"tensor\(\[\d, \d\]\)",
    "Adapters, and batches that are dicts": r"\d{4} bytes in an update, 25\d{4} in the network",
    "Control variates in a task": r"Plain: 0\.\d+ from the optimum\nScaffold: 0\.000\d from the .*",
    "An aggregation rule of one's own": r"(?s).*: 4 rounds, .*runs/median/sync/history\.jsonl",
}
"""What each recipe prints."""


@pytest.mark.parametrize("recipe", TOLD)
@pytest.mark.slow
def test_a_recipe_in_one_process(recipe: str, tmp_path: Path) -> None:
    assert re.fullmatch(TOLD[recipe], "\n".join(cook(recipe, tmp_path)))


@pytest.mark.slow
def test_three_hospitals_train_from_their_csv_files(tmp_path: Path) -> None:
    """Unscaled columns and BatchNorm: nobody is left out, and the held-out accuracy is high."""
    lines = cook(WITH_A_BROKER, tmp_path)
    assert all("participant_refused" not in line for line in lines)
    table = (tmp_path / "runs" / "tumours" / "rounds.csv").read_text().splitlines()
    names, last = table[0].split(","), table[-1].split(",")
    values = dict(zip(names, last, strict=True))
    assert (values["round"], values["updates"], values["examples"]) == ("10", "3", "380")
    assert float(values["accuracy"]) > 0.95


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_federation_over_tls_from_an_empty_machine(tmp_path: Path) -> None:
    """Its blocks in one shell, on a machine of its own: the broker speaks TLS and nothing else."""
    if os.geteuid() != 0:
        missing("only root can have a machine to itself")
    unshare, _ip = program("unshare", package="util-linux"), program("ip", package="iproute2")
    program("rabbitmq-server", package="rabbitmq-server")
    probe = """
    for port in 5671 15671; do
        openssl s_client -connect $BROKER:$port -CAfile pki/ca.pem -verify_return_error </dev/null
    done >tls 2>&1
    ss -Hltn >ports
    rabbitmqctl -q list_users >users
    """
    script = EMPTY + "".join(text for _, text in RECIPES[EMPTY_MACHINE]) + probe
    done = subprocess.run(
        [unshare, "--mount", "--uts", "--net", "--pid", "--fork", "--mount-proc", "sh", "-eu"],
        input=script,
        cwd=tmp_path,
        env=kitchen(tmp_path) | {"BROKER": "localhost"},
        check=False,
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert "finished after 5 rounds" in done.stdout
    assert (tmp_path / "tls").read_text().count("Verify return code: 0 (ok)") == 2
    ports = (tmp_path / "ports").read_text()
    assert ":5671 " in ports
    assert ":5672 " not in ports
    assert ":15672 " not in ports
    users = {line.split("\t")[0] for line in (tmp_path / "users").read_text().splitlines()}
    assert users - {"user"} == {"administrator", "charite", "uke", "coordinator"}

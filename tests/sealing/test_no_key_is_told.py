"""Keys of a sealed run stand in no output, log, event, message or process list."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from nodes import BrokerNode

from tests.test_secrets import process_titles


def keys_in(folder: Path) -> list[str]:
    """Every secret that a run on this machine made, in hex."""
    secrets = [
        secret
        for path in (folder / "keys").glob("*/identity.json")
        for secret in json.loads(path.read_bytes()).values()
    ]
    keys = json.loads((folder / "run-keys.json").read_bytes())["keys"]
    return [*secrets, *(key["secret"] for key in keys)]


@pytest.mark.slow
def test_a_sealed_run_keeps_its_keys_to_itself(broker_node: BrokerNode, tmp_path: Path) -> None:
    """Each of the three identities' keys, and the run's, in hex and as bytes."""
    broker_node.create_vhost("keys")
    command = [
        *(sys.executable, "-m", "fanfold", "local", "--sealed", "--rounds", "1"),
        *("--participants", "2", "--out", str(tmp_path), "--json"),
    ]
    printed = titles = ""
    with subprocess.Popen(
        command,
        env=os.environ | {"FANFOLD_BROKER_URL": broker_node.vhost_url("keys")},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as run:
        assert run.stdout is not None
        for line in run.stdout:
            printed += line
            titles += process_titles()
    assert run.returncode == 0, printed
    own = {"identity.json", "run-keys.json"}
    written = [
        path.read_bytes() for path in tmp_path.rglob("*") if path.is_file() and path.name not in own
    ]
    stored = [path.read_bytes() for path in broker_node._folder.rglob("*") if path.is_file()]
    told = b"\n".join([printed.encode(), titles.encode(), *written, *stored])
    keys = keys_in(tmp_path)
    assert len(keys) == 7
    assert [key[:8] for key in keys if key.encode() in told or bytes.fromhex(key) in told] == []
    assert "round_closed" in printed
    broker_node.delete_vhost("keys")

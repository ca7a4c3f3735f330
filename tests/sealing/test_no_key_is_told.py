"""Keys, seeds and passwords of a run stand in no output, log, event, message or process list."""

import json
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from nodes import BrokerNode

from fanfold.schemas.keeper_messages import Member
from fanfold.sealing.identity import Identity
from fanfold.sealing.mask_seeds import open_seeds
from fanfold.storage import safetensors_file
from tests.test_secrets import process_titles

OWN = {"identity.json", "run-keys.json"}
"""The files that keys belong in."""


def keys_in(folder: Path) -> list[str]:
    """Every secret that a run on this machine made, in hex."""
    secrets = [
        secret
        for path in folder.glob("*/*/identity.json")
        for secret in json.loads(path.read_bytes()).values()
    ]
    keys = json.loads((folder / "run-keys.json").read_bytes())["keys"]
    return [*secrets, *(key["secret"] for key in keys)]


def seeds_in(folder: Path) -> list[str]:
    """The seeds of the last closed sets, in hex: the keeper's key opens them."""
    seeds = []
    for path in folder.glob("progress*.safetensors"):
        tensors, _ = safetensors_file.read(path)
        run = json.loads(tensors["document"].numpy().tobytes())["run"]
        words = sum(each.numel() for name, each in tensors.items() if name.startswith("fixed/"))
        for each in run["aggregation"]["members"]:
            opened = open_seeds(
                Member.model_validate(each),
                Identity.read(folder / "keepers" / "keeper-0"),
                0,
                1,
                run=run["run"],
                words=words,
            )
            seeds += [seed.hex() for seed in opened.values()]
    return seeds


def environments() -> str:
    """Return the environments of all processes that we may read."""
    found = ""
    for path in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):  # it ended meanwhile
            found += path.read_bytes().decode(errors="replace")
    return found


@pytest.mark.slow
@pytest.mark.parametrize("num_keepers", [0, 1])
def test_a_sealed_run_keeps_its_secrets_to_itself(
    broker_node: BrokerNode, tmp_path: Path, num_keepers: int
) -> None:
    """Everybody's keys, the run's, and seeds of masks, in hex and as bytes, anywhere at all.

    The broker's password stands in the environments of our processes, and nowhere else.
    """
    vhost = f"keys-{num_keepers}"
    url = broker_node.create_vhost(vhost)
    command = [
        *(sys.executable, "-m", "fanfold", "local", "--sealed", "--rounds", "2"),
        *("--participants", "2", "--out", str(tmp_path), "--json"),
        f"--keepers={num_keepers}",
    ]
    printed = titles = variables = ""
    with subprocess.Popen(
        command,
        env=os.environ | {"FANFOLD_BROKER_URL": url},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as run:
        assert run.stdout is not None
        for line in run.stdout:
            printed += line
            titles += process_titles()
            variables += environments()
    assert run.returncode == 0, printed
    assert "round_closed" in printed
    written = [
        path.read_bytes() for path in tmp_path.rglob("*") if path.is_file() and path.name not in OWN
    ]
    stored = [path.read_bytes() for path in broker_node._folder.rglob("*") if path.is_file()]
    told = b"\n".join([printed.encode(), titles.encode(), *written])
    everywhere = b"\n".join([told, variables.encode(), *stored])
    secrets = keys_in(tmp_path)
    assert len(secrets) == (7 if not num_keepers else 13)
    if num_keepers:
        seeds = seeds_in(tmp_path)
        assert len(seeds) >= 2
        secrets += seeds
    assert [
        secret[:8]
        for secret in secrets
        if secret.encode() in everywhere or bytes.fromhex(secret) in everywhere
    ] == []
    password = urlsplit(url).password
    assert password
    assert password in variables
    assert password.encode() not in told
    broker_node.delete_vhost(vhost)

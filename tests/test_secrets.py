"""A password in the address is in nothing that a run prints, writes or shows."""

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

import pytest
from nodes import BrokerNode

from fanfold.api.reading import read
from fanfold.coordinator.settings import CoordinatorSettings
from fanfold.participant.settings import ParticipantSettings
from fanfold.schemas.errors import InvalidInputError
from fanfold.transport import Connection

PASSWORD = "hush/7@w-q"
QUOTED = quote(PASSWORD, safe="")


def holds_it(text: str) -> bool:
    return PASSWORD in text or QUOTED in text


def process_titles() -> str:
    """Return the command lines of all processes, as `ps` shows them."""
    titles = ""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):  # it ended meanwhile
            titles += path.read_bytes().decode(errors="replace")
    return titles


def test_no_repr_and_no_mistake_repeats_it() -> None:
    url = f"amqp://me:{QUOTED}@127.0.0.1:1"
    with Connection([url], name="x") as connection:
        shown = [
            repr(CoordinatorSettings(broker=(url,))),
            repr(ParticipantSettings(id="a", broker=(url,))),
            repr(connection),
        ]
    assert [text for text in shown if holds_it(text)] == []
    for bad in (f"http://me:{QUOTED}@host", f"amqp://me:{QUOTED}@host:port"):
        with pytest.raises(InvalidInputError, match="must look like") as mistake:
            Connection([bad], name="x")
        assert not holds_it(str(mistake.value))
    with pytest.raises(InvalidInputError, match="--rounds") as mistakes:
        read(CoordinatorSettings, {"broker": (url,), "rounds": "many"})
    assert not holds_it(str(mistakes.value))


@pytest.mark.slow
def test_a_whole_run_keeps_it_to_itself(broker_node: BrokerNode, tmp_path: Path) -> None:
    """Output, logs, files and the process list, while `fanfold local` trains at a given broker."""
    broker_node.ctl("add_user", "keeper", PASSWORD)
    broker_node.ctl("set_permissions", "keeper", ".*", ".*", ".*")
    port = broker_node.url.rpartition(":")[2].partition("/")[0]
    url = f"amqp://keeper:{QUOTED}@127.0.0.1:{port}"
    command = [
        *(sys.executable, "-m", "fanfold", "local", "--rounds", "1", "--participants", "1"),
        *("--out", str(tmp_path), "--federation", "hush", "--json"),
    ]
    printed = titles = ""
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
    assert run.returncode == 0, printed
    assert "round_closed" in printed
    written = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert written
    texts = [printed, titles, *(raw.decode("latin-1") for raw in written)]
    assert [text[:200] for text in texts if holds_it(text)] == []
    broker_node.ctl("delete_user", "keeper")

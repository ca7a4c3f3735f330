"""The same rounds through Flower's deployment engine: SuperLink, SuperNodes, identity training.

Flower is installed in an environment of its own, benchmarks/flower/.venv, which `make bench-flower`
makes. It listens on loopback only, sends no telemetry and downloads nothing.
"""

import os
import re
import shutil
import socket
import statistics
import subprocess
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import typer

from benchmarks.federation import broker, ended, federation
from benchmarks.results import machine, quartiles, report
from benchmarks.rounds import compare

HERE = Path(__file__).parent / "flower"
ENGINE = HERE / ".venv" / "bin"
LINK_PORT = 8000
"""The first of the SuperLink's ports, for nodes and for commands; it cannot choose free ones."""
FIRST_NODE_PORT = 9200
START_SECONDS = 60.0
RUN_SECONDS = 500.0


def run(*, values: int, nodes: int, rounds: int) -> list[float]:
    """Return the seconds of each of Flower's rounds."""
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        (home / "config.toml").write_text(
            '[superlink]\ndefault = "here"\n'
            f'[superlink.here]\naddress = "127.0.0.1:{LINK_PORT}"\ninsecure = true\n'
        )
        environment = os.environ | {
            "PATH": f"{ENGINE}{os.pathsep}{os.environ['PATH']}",
            "FLWR_HOME": str(home),
            "FLWR_TELEMETRY_ENABLED": "0",
        }
        log = stack.enter_context((home / "log").open("w"))

        def start(*command: str) -> None:
            process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
            stack.enter_context(ended(process))

        start("flower-superlink", "--insecure")
        _wait_for(LINK_PORT)
        for node in range(nodes):
            address = f"127.0.0.1:{LINK_PORT}"
            port = str(FIRST_NODE_PORT + node)
            start("flower-supernode", "--insecure", "--superlink", address, "--port", port)
        for node in range(nodes):
            _wait_for(FIRST_NODE_PORT + node)
        config = f"values={values} num-server-rounds={rounds} nodes={nodes}"
        done = subprocess.run(
            [
                str(ENGINE / "flwr"),
                "run",
                str(_app(home)),
                "here",
                "--stream",
                "--run-config",
                config,
            ],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=RUN_SECONDS,
            check=False,
        )
        found = re.search(r"SECONDS_PER_ROUND ([0-9. ]+)", done.stdout)
        if found is None:
            raise RuntimeError(f"Flower did not finish: {done.stdout[-2000:]}")
        return [float(seconds) for seconds in found[1].split()][1:]  # the first round warms up


def _app(home: Path) -> Path:
    """Write the app's folder; Flower requires a licence file in it."""
    app = home / "app"
    (app / "identity").mkdir(parents=True)
    (app / "identity" / "__init__.py").touch()
    for side in ("server.py", "client.py"):
        shutil.copy(HERE / side, app / "identity" / side)
    shutil.copy(HERE / "app.toml", app / "pyproject.toml")
    shutil.copy(HERE.parent.parent / "LICENSE", app / "LICENSE")
    return app


def _wait_for(port: int) -> None:
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.2)
    raise RuntimeError(f"nothing listens on port {port} after {START_SECONDS:g} s")


BFLOAT16 = ("--encoding=bfloat16", "--encoding-down=bfloat16")
CASES = (
    ("65,850 values", "Small", 65_850, 4, (), 100, ">= 300x"),
    ("100 MB, float32", "Large", 25_000_000, 4, (), 4, ">= 3x"),
    ("100 MB, bfloat16 both ways", "Large", 25_000_000, 2, BFLOAT16, 4, ">= 5x"),
)
"""Name, task, values, bytes per value (ours and the floor's), flags, rounds, promise."""


def main(nodes: int = 4, flower_rounds: int = 6, turns: int = 2) -> None:
    """Compare Flower, bare pika and Fanfold; nothing is trained."""
    title = f"Flower's deployment engine, {nodes} nodes ({machine()})"
    rows = []
    peers: dict[int, list[float]] = {}
    for case, task, values, width, flags, rounds, limit in CASES:
        if values not in peers:
            peers[values] = run(values=values, nodes=nodes, rounds=flower_rounds)
        with (
            broker() as url,
            federation(url, f"benchmarks.identity:{task}", nodes, kind="real") as started,
        ):
            row = compare(
                url,
                started,
                case=f"{case}, {nodes} participants",
                num_bytes=values * width,
                participants=nodes,
                rounds=rounds,
                turns=turns,
                limit=f"Flower {limit}",
                flags=flags,
            )
        row.peer = statistics.median(peers[values])
        row.details["peer"] = quartiles(peers[values])
        rows.append(row)
    report("bench-flower", rows, title=title)


if __name__ == "__main__":
    typer.run(main)

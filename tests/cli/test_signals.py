"""What a process does with signals from its first moment on."""

import os
import signal
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
SLOW_TORCH = "import time\nprint('importing', flush=True)\ntime.sleep(600)\n"


def test_sigterm_ends_a_service_that_still_imports(tmp_path: Path) -> None:
    """By a handler of ours: process 1 of a container has no default, and would go on."""
    (tmp_path / "torch.py").write_text(SLOW_TORCH)
    with subprocess.Popen(
        [sys.executable, "-m", "fanfold", "participant", "--id", "a"],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(tmp_path), "PYTHONSAFEPATH": ""},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "importing\n"
        process.send_signal(signal.SIGTERM)

        assert process.wait(30) == 128 + signal.SIGTERM  # and not killed by it


def test_a_second_signal_ends_at_once() -> None:
    """Even where the good order hangs."""
    program = (
        "from fanfold.cli.signals import stop_on_signals; import threading\n"
        "stop_on_signals(lambda reason: print(reason, flush=True))\n"
        "print('ready', flush=True); threading.Event().wait()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGTERM)
        assert process.stdout.readline() == "SIGTERM\n"
        process.send_signal(signal.SIGTERM)

        assert process.wait(30) == 128 + signal.SIGTERM

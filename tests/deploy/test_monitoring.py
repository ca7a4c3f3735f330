"""The dashboard and the alert rules ask only for metrics that exist.

Those of the broker are held against a real scrape in tests/containers.
"""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from coordinator.metrics import CoordinatorMetrics
from participant.metrics import ParticipantMetrics

MONITORING = Path(__file__).parents[2] / "deploy" / "monitoring"
METRIC = re.compile(r"\bwarren_[a-z_]+\b")


def families(registry: CollectorRegistry) -> set[str]:
    """Names of the samples, as a scrape shows them."""
    text = generate_latest(registry).decode()
    declared = re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE)
    names = {name for name, _ in declared}
    for name, kind in declared:
        if kind == "histogram":
            names |= {f"{name}_bucket", f"{name}_sum", f"{name}_count"}
    return names


def ours() -> set[str]:
    coordinator = CoordinatorMetrics(federation="f", version="1")
    participant = ParticipantMetrics(federation="f", version="1")
    return families(coordinator.registry) | families(participant.registry)


def asked_for(*files: str) -> set[str]:
    return set(METRIC.findall("".join((MONITORING / file).read_text() for file in files)))


def test_the_dashboard_is_the_one_that_its_script_writes(tmp_path: Path) -> None:
    """Whoever changes one changes both."""
    script = tmp_path / "make_dashboard.py"
    shutil.copy(MONITORING / script.name, script)
    subprocess.run([sys.executable, str(script)], check=True)

    written = json.loads((tmp_path / "dashboard.json").read_text())
    assert written == json.loads((MONITORING / "dashboard.json").read_text())


def test_every_metric_of_ours_that_is_asked_for_exists() -> None:
    """In the dashboard and in the alerts."""
    asked = asked_for("dashboard.json", "alerts.yml")

    assert len(asked) >= 12
    assert asked - ours() == set()


@pytest.mark.parametrize(("kind", "file"), [("rules", "alerts.yml"), ("config", "prometheus.yml")])
def test_prometheus_itself_accepts_our_files(kind: str, file: str) -> None:
    """Where Debian's package prometheus is installed."""
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed (Debian: apt install prometheus)")
    done = subprocess.run(
        [promtool, "check", kind, str(MONITORING / file)],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr

"""The dashboard and the alert rules ask only for metrics that exist.

Those of the broker are held against a real scrape in tests/containers.
"""

import json
import math
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from programs import program
from prometheus_client import CollectorRegistry, generate_latest

from fanfold.coordinator.metrics import CoordinatorMetrics
from fanfold.coordinator.rounds.reports import RoundReports
from fanfold.participant.metrics import ParticipantMetrics
from fanfold.schemas.events.coordinator import RoundClosed

MONITORING = Path(__file__).parents[2] / "deploy" / "monitoring"
ALERTS_TEST = Path(__file__).with_name("alerts_test.yml")
METRIC = re.compile(r"\bfanfold_[a-z_]+\b")


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


def test_every_alert_is_proved_to_fire() -> None:
    """There is a time in alerts_test.yml at which it does."""
    rules = yaml.safe_load((MONITORING / "alerts.yml").read_text())
    alerts = {rule["alert"] for group in rules["groups"] for rule in group["rules"]}
    cases = yaml.safe_load(ALERTS_TEST.read_text())["tests"]
    expected = [str(each["exp_samples"]) for case in cases for each in case["promql_expr_test"]]

    assert "[]" in expected  # all is well
    assert alerts == set(re.findall(r'alertname="(\w+)"', "".join(expected)))


def test_a_loss_that_is_not_finite_is_a_number_of_its_own() -> None:
    """A round's record has no number for it, and the gauge of the loss keeps the last one."""
    metrics = CoordinatorMetrics(federation="f", version="1")
    reports = RoundReports()
    seen: list[tuple[float | None, float | None]] = []
    for version, loss in enumerate((0.5, math.nan, math.inf, 0.25), start=1):
        closed = RoundClosed(
            round=version,
            version=version,
            updates=1,
            examples=1,
            loss=None,
            accuracy=None,
            bytes_down=1,
            bytes_up=1,
            seconds=1.0,
        )
        reports.closed(closed, awaits_evaluation=True)
        reports.evaluated(version, {"loss": loss})
        reports.committed()
        for told in reports.take_ready():
            metrics.hear(told)
        seen.append(
            (
                metrics.registry.get_sample_value("fanfold_coordinator_loss"),
                metrics.registry.get_sample_value("fanfold_coordinator_loss_not_finite"),
            )
        )

    assert seen == [(0.5, 0.0), (0.5, 1.0), (0.5, 1.0), (0.25, 0.0)]


@pytest.mark.parametrize(
    ("command", "file"),
    [
        ("check rules", MONITORING / "alerts.yml"),
        ("check config", MONITORING / "prometheus.yml"),
        ("test rules", ALERTS_TEST),
    ],
)
def test_prometheus_itself_agrees(command: str, file: Path) -> None:
    """Accepts our files, and fires each alert when it should and only then."""
    promtool = program("promtool", package="prometheus")
    done = subprocess.run(
        [promtool, *command.split(), str(file)],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr

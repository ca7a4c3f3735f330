"""What a service shows over HTTP, and how a container asks for it."""

import socket
import subprocess
import sys
from http.client import HTTPConnection
from typing import Any

import pytest

from fanfold.coordinator.aggregation.contribution import Contribution
from fanfold.coordinator.metrics import CoordinatorMetrics
from fanfold.monitoring import probe
from fanfold.monitoring.endpoint import Endpoint
from fanfold.schemas.errors import InvalidInputError


def metrics() -> CoordinatorMetrics:
    return CoordinatorMetrics(federation="clinics", version="1.2.3")


def ask(port: int, page: str) -> tuple[int, str]:
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", page)
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, text


def test_a_service_is_alive_before_it_is_ready() -> None:
    """Alive needs no broker; ready is asked anew every time."""
    watched = metrics()
    with Endpoint(0, watched) as endpoint:
        assert ask(endpoint.port, "/health") == (200, "alive\n")
        assert ask(endpoint.port, "/ready")[0] == 503

        connected = True
        watched.attach(present=lambda: 3, members=frozenset, is_ready=lambda: connected)
        assert ask(endpoint.port, "/ready") == (200, "connected and subscribed\n")

        connected = False
        assert ask(endpoint.port, "/ready")[0] == 503


def test_updates_in_the_sums_of_regions_are_counted_too() -> None:
    """Beside those of participants."""
    watched = metrics()
    of: dict[str, Any] = {"staleness": 0, "num_examples": 9, "weight": 1.0, "digest": "0"}
    watched.folded(Contribution("ada", 3, **of))
    watched.folded(Contribution("north", 3, **of, updates=40))
    assert watched.registry.get_sample_value("fanfold_coordinator_single_updates_total") == 41


def test_a_scrape_shows_what_happened() -> None:
    """Counters count, gauges are asked for, and the program names itself."""
    watched = metrics()
    watched.attach(present=lambda: 3, members=frozenset, is_ready=lambda: True)
    watched.folded(Contribution("ada", 3, staleness=2, num_examples=9, weight=1.0, digest="0"))
    watched.refused("too stale")
    with watched.phase("aggregate"):
        pass
    with Endpoint(0, watched) as endpoint:
        text = ask(endpoint.port, "/metrics")[1]

    assert 'fanfold_coordinator_build_info{federation="clinics",version="1.2.3"} 1.0' in text
    assert "fanfold_coordinator_participants_present 3.0" in text
    assert "fanfold_coordinator_ready 1.0" in text
    assert 'fanfold_coordinator_updates_total{outcome="folded",reason=""} 1.0' in text
    assert 'fanfold_coordinator_updates_total{outcome="refused",reason="too stale"} 1.0' in text
    assert 'fanfold_coordinator_update_staleness_bucket{le="1.0"} 0.0' in text
    assert 'fanfold_coordinator_update_staleness_bucket{le="2.0"} 1.0' in text
    assert 'fanfold_coordinator_phase_seconds_count{phase="aggregate"} 1.0' in text


def test_a_page_that_is_none_names_those_there_are() -> None:
    """A mistyped path is told what there is."""
    with Endpoint(0, metrics()) as endpoint:
        assert ask(endpoint.port, "/") == (404, "there are /metrics, /health and /ready\n")


def test_a_port_in_use_is_one_clear_sentence() -> None:
    """The operator reads which option to change."""
    with socket.socket() as taken:
        taken.bind(("", 0))
        taken.listen()
        port = taken.getsockname()[1]

        with pytest.raises(
            InvalidInputError, match=rf"^--metrics-port {port} cannot be used .*choose another"
        ):
            Endpoint(port, metrics())


def test_the_command_line_ends_with_exit_code_2_on_a_port_in_use() -> None:
    """Before anything is loaded or connected."""
    with socket.socket() as taken:
        taken.bind(("", 0))
        taken.listen()
        port = taken.getsockname()[1]
        ended = subprocess.run(
            [
                *(sys.executable, "-m", "fanfold", "participant", "--id=ada"),
                *("--broker=amqp://127.0.0.1:1/", f"--metrics-port={port}"),
            ],
            capture_output=True,
            text=True,
            check=False,
        )

    assert ended.returncode == 2
    assert ended.stderr.startswith(f"fanfold: --metrics-port {port} cannot be used")


def test_a_probe_tells_yes_from_no_and_from_nobody_there() -> None:
    """What a container's health check runs."""
    with Endpoint(0, metrics()) as endpoint:
        assert probe.answers("health", endpoint.port)
        assert not probe.answers("ready", endpoint.port)
        port = endpoint.port
    assert not probe.answers("health", port)

"""Whole federations in containers, started as the pages say, and disturbed.

Each test takes minutes; `make containers` builds the images and runs them.
"""

import json
import re
from collections.abc import Callable

import pytest
from conftest import DEPLOY, Compose

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]
METRIC = re.compile(r"\b(?:fanfold|rabbitmq)_[a-z_]+\b")
FAMILIES = "family=queue_coarse_metrics&family=queue_consumer_count"
Make = Callable[..., Compose]


def test_four_participants_train_eight_join_and_six_leave(compose: Make) -> None:
    """Who joins takes part within one round, who leaves is not waited for; the model remains."""
    federation = compose("compose.yaml", FANFOLD_ROUNDS="150", FANFOLD_MIN_PARTICIPANTS="4")
    federation.up(4)
    federation.until_round(3)
    assert {updates for _, updates, _ in federation.rounds()} == {4}

    federation.up(8)
    federation.until(lambda: len(federation.events("participant_joined", "coordinator")) == 8)
    joined = federation.rounds()[-1][0]
    federation.until_round(joined + 3)
    assert next(n for n, updates, _ in federation.rounds() if updates == 8) <= joined + 2

    shown = federation.metrics("coordinator", "coordinator:9464/metrics")
    shown |= federation.metrics("coordinator", "participant:9464/metrics")
    shown |= federation.metrics("coordinator", "broker:15692/metrics")
    shown |= federation.metrics("coordinator", f"broker:15692/metrics/detailed?{FAMILIES}")
    files = (DEPLOY / "monitoring" / name for name in ("dashboard.json", "alerts.yml"))
    asked = {name for file in files for name in METRIC.findall(file.read_text())}
    assert {re.sub("_(bucket|sum|count)$", "", name) for name in asked} - shown == set()

    federation.up(2)
    federation.until(federation.is_finished)

    rounds = federation.rounds()
    assert [number for number, _, _ in rounds] == list(range(1, 151))
    assert rounds[-1][1] == 2
    assert max(accuracy for _, _, accuracy in rounds) >= 0.95
    files = federation.files_of_the_run()
    assert files["model.safetensors"] > 263_000
    assert files["history.jsonl"] > 0


@pytest.mark.parametrize("victim", ["coordinator", "broker", "participant"])
def test_the_run_outlives_whoever_is_killed(compose: Make, victim: str) -> None:
    """Killed in the middle of a round and started again: every round closes once, in order."""
    federation = compose(
        "compose.yaml",
        FANFOLD_ROUNDS="12",
        FANFOLD_MIN_PARTICIPANTS="3",
        FANFOLD_DEADLINE_SECONDS="10",
    )
    federation.up(3)
    federation.until_round(3)

    federation.kill(victim)
    federation.start(victim)
    federation.until(federation.is_finished)

    assert [number for number, _, _ in federation.rounds()] == list(range(1, 13))
    assert federation.rounds()[-1][1] == 3  # everybody is back


@pytest.mark.parametrize("victim", ["coordinator", "broker", "participant"])
def test_a_process_that_dies_is_started_again_by_its_restart_policy(
    compose: Make, victim: str
) -> None:
    """Nobody starts anything by hand; `docker kill` would count as somebody's wish."""
    federation = compose(
        "compose.yaml",
        FANFOLD_ROUNDS="12",
        FANFOLD_MIN_PARTICIPANTS="2",
        FANFOLD_DEADLINE_SECONDS="10",
    )
    federation.up(2)
    federation.until_round(2)

    federation.crash(victim)
    federation.until(lambda: federation.restarts(victim) == 1)
    federation.until(federation.is_finished)

    assert [number for number, _, _ in federation.rounds()] == list(range(1, 13))


def test_a_federation_trains_over_tls_alone(compose: Make) -> None:
    """With certificates made on the first start; nothing listens without TLS."""
    federation = compose(
        "compose.yaml", "compose.tls.yaml", FANFOLD_ROUNDS="3", FANFOLD_MIN_PARTICIPANTS="2"
    )
    federation.up(2)
    federation.until(federation.is_finished)

    assert [updates for _, updates, _ in federation.rounds()] == [2, 2, 2]
    listening = federation("exec", "-T", "broker", "rabbitmq-diagnostics", "listeners")
    assert "port: 5671, protocol: amqp/ssl" in listening
    assert "port: 5672" not in listening


@pytest.mark.parametrize("node", ["broker", "broker-3"])
def test_the_run_goes_on_without_one_of_three_broker_nodes(compose: Make, node: str) -> None:
    """Whose queue lay on it waits and says so; once it is back, so are they."""
    federation = compose(
        "compose.yaml",
        "compose.cluster.yaml",
        FANFOLD_ROUNDS="40",
        FANFOLD_MIN_PARTICIPANTS="6",
        FANFOLD_DEADLINE_SECONDS="20",
    )
    federation.up(6)
    federation.until_round(3)

    federation.kill(node)
    before = federation.rounds()[-1][0]
    federation.until_round(before + 4)
    fewer = [updates for number, updates, _ in federation.rounds() if number >= before + 2]
    assert fewer
    assert 0 < min(fewer) < 6
    assert any(federation.events("queue_down", "participant", n) for n in range(1, 7))

    federation.start(node)
    back = federation.rounds()[-1][0]
    federation.until(lambda: any(u == 6 for n, u, _ in federation.rounds() if n > back))
    federation.until(federation.is_finished)

    assert [number for number, _, _ in federation.rounds()] == list(range(1, 41))


def test_a_root_trains_in_two_regions_and_one_of_them_dies(compose: Make) -> None:
    """Nothing but their regions knows the participants; every round counts both regions once."""
    tree = compose("compose.yaml", "compose.regions.yaml", FANFOLD_ROUNDS="40")
    tree.up(0)
    tree.until_round(3)
    assert {each["participant"] for each in tree.events("participant_joined", "coordinator")} == {
        "north",
        "south",
    }
    for region in ("north", "south"):
        assert {each["updates"] for each in tree.events("round_closed", region)} == {2}
    status = json.loads(tree("exec", "-T", "coordinator", "fanfold", "status", "--json"))
    shown = {each["participant"]: each["participants"] for each in status["participants"]}
    assert shown == {"north": 2, "south": 2}

    tree.crash("north")
    tree.until(lambda: tree.restarts("north") == 1)
    tree.until(tree.is_finished)

    rounds = tree.rounds()
    assert [(number, updates) for number, updates, _ in rounds] == [(n, 2) for n in range(1, 41)]
    assert max(accuracy for _, _, accuracy in rounds) >= 0.8
    with pytest.raises(AssertionError, match=r"name resolution|not known"):
        tree(
            *("exec", "-T", "north-participant", "python3", "-c"),
            "import socket; socket.getaddrinfo('south-broker', 5672)",
        )

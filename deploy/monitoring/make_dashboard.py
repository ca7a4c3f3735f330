"""Writes dashboard.json beside itself, because Grafana's format is too long to edit by hand."""

import json
from itertools import count
from pathlib import Path
from typing import Any

WAITING = "sum by (queue) (rabbitmq_detailed_queue_messages_ready{{queue=~'{}'}})"

ROWS: dict[str, list[tuple[str, str, list[tuple[str, str]]]]] = {
    "Is it well?": [
        ("Coordinator ready", "none", [("fanfold_coordinator_ready", "{{instance}}")]),
        ("Participants present", "none", [("fanfold_coordinator_participants_present", "present")]),
        ("Participants ready", "none", [("sum(fanfold_participant_ready)", "ready")]),
        (
            "Rounds an hour",
            "none",
            [("increase(fanfold_coordinator_rounds_total[1h])", "rounds")],
        ),
    ],
    "Is it learning?": [
        ("Accuracy", "percentunit", [("fanfold_coordinator_accuracy", "held-out")]),
        (
            "Loss",
            "none",
            [
                ("fanfold_coordinator_loss", "held-out"),
                ("fanfold_participant_loss", "{{instance}}"),
            ],
        ),
        (
            "Version",
            "none",
            [
                ("fanfold_coordinator_version", "current"),
                ("min(fanfold_participant_version)", "slowest participant"),
            ],
        ),
    ],
    "What comes in?": [
        (
            "Updates per minute, by outcome and reason",
            "none",
            [
                (
                    "60 * sum by (outcome, reason) (rate(fanfold_coordinator_updates_total[5m]))",
                    "{{outcome}} {{reason}}",
                )
            ],
        ),
        (
            "Staleness of folded updates",
            "none",
            [
                (
                    (
                        f"histogram_quantile({q}, sum by (le) "
                        "(rate(fanfold_coordinator_update_staleness_bucket[15m])))"
                    ),
                    f"quantile {q}",
                )
                for q in ("0.5", "0.9", "0.99")
            ],
        ),
        (
            "Bytes a second",
            "Bps",
            [("sum by (direction) (rate(fanfold_coordinator_bytes_total[5m]))", "{{direction}}")],
        ),
    ],
    "Where does the time go?": [
        (
            "Seconds of a round",
            "s",
            [
                (
                    (
                        "rate(fanfold_coordinator_round_seconds_sum[15m])"
                        " / rate(fanfold_coordinator_round_seconds_count[15m])"
                    ),
                    "mean",
                )
            ],
        ),
        (
            "Coordinator: share of the time by phase",
            "percentunit",
            [("sum by (phase) (rate(fanfold_coordinator_phase_seconds_sum[5m]))", "{{phase}}")],
        ),
        (
            "Participants: mean seconds by phase",
            "s",
            [
                (
                    (
                        "sum by (phase) (rate(fanfold_participant_phase_seconds_sum[15m]))"
                        " / sum by (phase) (rate(fanfold_participant_phase_seconds_count[15m]))"
                    ),
                    "{{phase}}",
                )
            ],
        ),
    ],
    "What does the broker say?": [
        (
            "Waiting versions (ready) by participant",
            "none",
            [
                (
                    WAITING.format(".+[.]participant[.].+"),
                    "{{queue}}",
                )
            ],
        ),
        (
            "Chunks of updates that wait",
            "none",
            [
                (
                    WAITING.format(".+[.](results|events|dead-letters)"),
                    "{{queue}}",
                )
            ],
        ),
        (
            "Memory and disk",
            "bytes",
            [
                ("rabbitmq_process_resident_memory_bytes", "memory {{instance}}"),
                ("rabbitmq_disk_space_available_bytes", "disk left {{instance}}"),
            ],
        ),
        (
            "Connections",
            "none",
            [("rabbitmq_connections", "{{instance}}")],
        ),
    ],
}
HEIGHT, WIDTH = 8, 24


def main() -> None:
    """Write the file."""
    dashboard = {
        "title": "Fanfold",
        "uid": "fanfold",
        "tags": ["fanfold"],
        "schemaVersion": 39,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "templating": {
            "list": [
                {"name": "source", "type": "datasource", "query": "prometheus", "label": "Data"}
            ]
        },
        "panels": list(panels()),
    }
    text = json.dumps(dashboard, indent=2) + "\n"
    Path(__file__).with_name("dashboard.json").write_text(text)


def panels() -> Any:
    """Yield a heading and its graphs side by side, row after row."""
    ids = count(1)
    y = 0
    for heading, graphs in ROWS.items():
        grid = {"x": 0, "y": y, "w": WIDTH, "h": 1}
        yield {"id": next(ids), "type": "row", "title": heading, "gridPos": grid, "panels": []}
        width = WIDTH // len(graphs)
        for column, (title, unit, queries) in enumerate(graphs):
            yield {
                "id": next(ids),
                "type": "timeseries",
                "title": title,
                "gridPos": {"x": column * width, "y": y + 1, "w": width, "h": HEIGHT},
                "datasource": {"type": "prometheus", "uid": "${source}"},
                "fieldConfig": {"defaults": {"unit": unit, "min": 0}, "overrides": []},
                "targets": [
                    {"refId": chr(ord("A") + i), "expr": expression, "legendFormat": legend}
                    for i, (expression, legend) in enumerate(queries)
                ],
            }
        y += HEIGHT + 1


if __name__ == "__main__":
    main()

"""Two runs side by side: where their settings differ, and how good they are."""

from typing import Any

from fanfold.registry.details import metrics_of

FACTS = ("state", "task", "task_sha256", "version", "parameters_sha256")


def compared(left: dict[str, Any], right: dict[str, Any]) -> dict[str, Any]:
    """Return what differs between two runs, from the details of each.

    The keys are `runs` (their names), `facts`, `settings` (those that differ) and `metrics` (of the
    last version that was measured), each with a pair of values by name; None where one has none.
    """
    both = (left, right)
    settings = sorted({name for each in both for name in each["settings"]})
    metrics = [_last_metrics(each) for each in both]
    return {
        "runs": [each["run"] for each in both],
        "facts": {name: [each[name] for each in both] for name in FACTS}
        | {
            "updates": [sum(row["updates"] for row in each["closed_rounds"]) for each in both],
            "participants": [len(each["participants"]) for each in both],
            "begins_from": [_parent(each) for each in both],
        },
        "settings": {
            name: pair
            for name in settings
            if (pair := [each["settings"].get(name) for each in both])[0] != pair[1]
        },
        "metrics": {
            name: [each.get(name) for each in metrics]
            for name in sorted({*metrics[0], *metrics[1]})
        },
    }


def _last_metrics(details: dict[str, Any]) -> dict[str, float]:
    measured = (metrics_of(each) for each in reversed(details["closed_rounds"]))
    return next((each for each in measured if each), {})


def _parent(details: dict[str, Any]) -> str | None:
    nearest = details["lineage"][:1]
    return f"{nearest[0]['run']}@{nearest[0]['version']}" if nearest else None

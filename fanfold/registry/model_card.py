"""The card that goes with a model: where it comes from, who gave to it, how good it is."""

from collections.abc import Mapping
from typing import Any

from fanfold.registry.details import closed_round, metrics_of
from fanfold.registry.models import ModelFile

_EPSILONS = {
    "epsilon_zero_out": "Privacy loss (epsilon, a participant's updates zeroed)",
    "epsilon_replace_one": "Privacy loss (epsilon, a participant's updates replaced)",
    "delta": "Privacy: delta",
}


def model_card(details: dict[str, Any], model: ModelFile) -> dict[str, Any]:
    """Return the card of one version of a run as plain values.

    Args:
        details: of the run, from `details_of`.
        model: the version's file.
    """
    closed = closed_round(details, model.version)
    rounds = [each for each in details["closed_rounds"] if each["version"] <= model.version]
    return {
        "run": details["run"],
        "version": model.version,
        "parameters_sha256": model.parameters_sha256,
        "file_bytes": model.num_bytes,
        "coordinator_run": details["coordinator_run"],
        "task": details["task"],
        "task_sha256": details["task_sha256"],
        "begins_from": details["lineage"],
        "state": details["state"],
        "reason": details["reason"],
        "rounds": len(rounds),
        "updates": sum(each["updates"] for each in rounds),
        "metrics": metrics_of(closed),
        "measured_by": closed.get("measured_by") or "coordinator",
        "privacy": {name: closed[name] for name in _EPSILONS if closed.get(name) is not None},
        "participants": details["participants"],
        "declined": details["declined"],
        "settings": details["settings"],
        "software": details["software"],
        "submitted_by": details["submitted_by"],
        "submitted_at": details["submitted_at"],
        "ended_at": details["ended_at"],
    }


def in_markdown(card: Mapping[str, Any]) -> str:
    """Return a card as a page for people."""
    facts = {
        "Run": f"{card['run']} ({card['state']})",
        "Version": f"{card['version']}, of {card['rounds']} rounds and {card['updates']} updates",
        "`parameters_sha256`": f"`{card['parameters_sha256']}`"
        if card["parameters_sha256"]
        else "not recorded for this version",
        "Task": f"`{card['task']}`",
        "Task's source (SHA-256)": f"`{card['task_sha256']}`",
        "Begins from": _lineage(card["begins_from"]),
        "Submitted": f"{card['submitted_at']} by {card['submitted_by']}",
        "Ended": card["ended_at"] or "not yet",
        "Why it ended": card["reason"],
        **{_EPSILONS[name]: f"{value:g}" for name, value in card["privacy"].items()},
    }
    parts = [
        f"# Model card: {card['run']}, version {card['version']}",
        _table(("", ""), [(name, text) for name, text in facts.items() if text]),
        f"## How good it is\n\nMeasured by: {card['measured_by']}.",
        _table(("metric", "value"), [(n, f"{v:.6g}") for n, v in card["metrics"].items()])
        if card["metrics"]
        else "This version was not measured.",
        "## Who gave to it\n\nNames as on the broker; examples are those behind the last update.",
        _table(
            ("participant", "updates", "examples", "mean staleness"),
            [
                (each["participant"], each["updates"], each["examples"], _short(each))
                for each in card["participants"]
            ],
        ),
        *(
            [
                "## Who took no part, and why",
                _table(("participant", "reason"), list(card["declined"].items())),
            ]
            if card["declined"]
            else []
        ),
        "## Settings",
        _table(("setting", "value"), list(card["settings"].items())),
        "## Software of the coordinator",
        _table(("", ""), list(card["software"].items())),
    ]
    return "\n\n".join(parts) + "\n"


def _short(participation: Mapping[str, Any]) -> str:
    return f"{participation['mean_staleness']:.2f}"


def _lineage(ancestors: list[dict[str, Any]]) -> str:
    return ", which begins from ".join(f"{each['run']}@{each['version']}" for each in ancestors)


def _table(head: tuple[str, ...], rows: list[tuple[Any, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(f"| {' | '.join(_cell(each) for each in line)} |" for line in lines)


def _cell(value: object) -> str:
    """Return a value that breaks no table."""
    return str(value).replace("|", "\\|").replace("\n", " ")

"""What people see of the answers: tables and sentences."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

NOTHING = "-"
MOST_KEPT_SHOWN = 10
"""Of the kept versions; `--json` has more."""


def show_runs(runs: Sequence[Mapping[str, Any]], console: Console) -> None:
    """Show a row for each run, and below them why some are where they are."""
    if not runs:
        console.print("no run yet; `fanfold submit` puts one into the queue")
        return
    rows = (
        (
            each["run"],
            each["state"],
            f"{_text(each['version'])} of {_text(each['rounds'])}",
            each["accuracy"],
            each["task"],
            each["parent"],
            each["priority"] or None,
            each["submitted_by"],
        )
        for each in runs
    )
    head = ("run", "state", "version", "accuracy", "task", "from", "priority", "by")
    console.print(_table(head, rows, whole=("state", "version", "accuracy", "priority")))
    for each in runs:
        if each["reason"]:  # a sentence, for which no column is wide enough
            console.print(Text(state_sentence(each)))


def show_run(run: Mapping[str, Any], console: Console) -> None:
    """Show all that matters of a run."""
    facts = {
        "run": run["run"],
        "state": run["state"],
        "why": run["reason"],
        "version": f"{_text(run['version'])} of {_text(run['settings'].get('rounds'))}",
        "accuracy": _newest(run["closed_rounds"], "accuracy"),
        "loss": _newest(run["closed_rounds"], "loss"),
        "task": run["task"],
        "its source": run["task_sha256"] and f"sha256:{run['task_sha256']}",
        "parameters_sha256": run["parameters_sha256"],
        "begins from": " < ".join(f"{each['run']}@{each['version']}" for each in run["lineage"]),
        "submitted": f"{run['submitted_at']} by {run['submitted_by']}",
        "opened": run["opened_at"],
        "ended": run["ended_at"],
        "options": " ".join(f"{name}={value}" for name, value in run["options"].items()),
    }
    console.print(_table(("", ""), ((name, value) for name, value in facts.items() if value)))
    if run["participants"]:
        head = ("participant", "updates", "examples", "mean staleness")
        rows = (
            (each["participant"], each["updates"], each["examples"], each["mean_staleness"])
            for each in run["participants"]
        )
        console.print(_table(head, rows))
    if run["declined"]:
        console.print(_table(("does not take part", "because"), run["declined"].items()))
    if run["models"] or run["kept_versions"]:
        kept = [("kept", each) for each in run["kept_versions"][:MOST_KEPT_SHOWN]]
        rows = (
            (kind, each["version"], each["bytes"], each["parameters_sha256"])
            for kind, each in [*run["models"].items(), *kept]
        )
        console.print(_table(("model", "version", "bytes", "parameters_sha256"), rows))


def show_comparison(comparison: Mapping[str, Any], console: Console) -> None:
    """Show two runs side by side."""
    for part in ("facts", "metrics", "settings"):
        rows = ((name, *pair) for name, pair in comparison[part].items())
        console.print(_table((part, *comparison["runs"]), rows))


def state_sentence(run: Mapping[str, Any]) -> str:
    """Return where a run stands, in a sentence."""
    why = f": {run['reason']}" if run.get("reason") else ""
    return f"{run['run']} is {run['state']}{why}"


def _newest(rounds: Sequence[Mapping[str, Any]], name: str) -> Any:
    values = (each[name] for each in reversed(rounds))
    return next((value for value in values if value is not None), None)


def _table(head: Sequence[str], rows: Iterable[Sequence[Any]], whole: Sequence[str] = ()) -> Table:
    """Return a table whose columns are broken where the terminal is narrow, but for some."""
    table = Table(box=None, pad_edge=False, show_header=any(head))
    for title in head:
        table.add_column(title, overflow="fold", no_wrap=title in whole)
    for row in rows:
        table.add_row(*(Text(_text(value)) for value in row))
    return table


def _text(value: Any) -> str:
    if value is None or value == "":
        return NOTHING
    return f"{value:.4f}" if isinstance(value, float) else str(value)

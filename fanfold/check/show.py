"""A report as tables for people."""

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from fanfold.schemas.events.commands import Checked

NUMBERS = ("number", "values", "bytes")
COLUMNS = ("tensors", "what becomes of them", *NUMBERS, "dtype", "such as")


def show(report: Checked, console: Console) -> None:
    """Print what a check found."""
    tensors = Table(title=f"{escape(report.task)}: tensors", title_justify="left", expand=False)
    for column in COLUMNS:
        right = column in NUMBERS
        tensors.add_column(column, justify="right" if right else "left", overflow="fold")
    for group in report.groups:
        tensors.add_row(
            group["name"],
            group["treatment"],
            f"{group['tensors']:,}",
            f"{group['values']:,}",
            f"{group['bytes']:,}",
            ", ".join(group["dtypes"]),
            escape(", ".join(group["examples"])),
        )
    console.print(tensors)
    round_ = Table(title="a round of one participant", title_justify="left", show_header=False)
    for name, value in _rows(report).items():
        round_.add_row(name, escape(value))
    console.print(round_)
    if report.task_sha256 is not None:
        allowed = f"{report.task}@sha256:{report.task_sha256}"
        told = f"participants may allow exactly this code: --allow {allowed}"
        console.print(told, markup=False, highlight=False, soft_wrap=True)
    for note in report.notes:
        console.print(f"note: {note}", markup=False, highlight=False)
    if not report.notes:
        console.print("nothing to note: this task can be trained")


def _rows(report: Checked) -> dict[str, str]:
    seconds = report.seconds_per_step
    rows = {
        "private examples": f"{report.examples:,}",
        "a batch": report.batch,
        "bytes down": f"{report.bytes_down:,}",
        "bytes up": f"{report.bytes_up:,}",
        "seconds a step": f"{seconds:.4f} on {report.device}",
        "a pass": f"{report.steps_per_epoch:,} steps, {seconds * report.steps_per_epoch:.2f} s",
        "loss": "-" if report.loss is None else f"{report.loss:.4f}",
        "memory": f"{report.memory_bytes / 2**20:,.0f} MiB at most",
    }
    if report.validation_examples is not None:
        rows["validation examples"] = f"{report.validation_examples:,}"
    if report.held_out_examples is not None and report.evaluation_seconds is not None:
        metrics = ", ".join(f"{name} {value:.4f}" for name, value in report.metrics.items())
        rows["evaluation"] = (
            f"{report.held_out_examples:,} held-out examples in {report.evaluation_seconds:.2f} s: "
            f"{metrics}"
        )
    return rows

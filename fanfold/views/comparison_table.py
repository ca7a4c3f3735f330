"""Simulated runs side by side, as a table: the mean of a metric over seeds, and its spread."""

from rich.table import Table
from rich.text import Text

from fanfold.monitoring.printable import printable
from fanfold.schemas.events.commands import Compared

NUMBERS = ("mean", "deviation", "lowest", "highest")


def comparison_table(compared: Compared) -> Table:
    """Return a row for each mode; numbers of one seed have no spread."""
    title = Text(f"{printable(compared.metric)} at {compared.place}")
    table = Table(title=title, title_justify="left")
    for column in ("mode", "seeds", *NUMBERS):
        table.add_column(column, justify="left" if column == "mode" else "right")
    for run in compared.runs:
        numbers = [f"{run[name]:.4f}" for name in NUMBERS]
        shown = numbers if run["seeds"] > 1 else [numbers[0], "-", "-", "-"]
        table.add_row(run["mode"], str(run["seeds"]), *shown)
    return table

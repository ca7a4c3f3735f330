"""The report's picture: metrics over the version, and who gave what, as a PNG."""

from pathlib import Path

from fanfold.runs.run_data import RunData

MOST_METRICS = 4
MOST_PARTICIPANTS = 12
WIDTH_INCHES, ROW_INCHES, DOTS_PER_INCH = 9.0, 3.1, 110
COLUMNS = 2
BLUE = "#2457d6"


def draw(data: RunData, picture: Path) -> None:
    """Write the PNG; needs matplotlib.

    Raises:
        OSError: if the file cannot be written.
    """
    from matplotlib.figure import Figure  # noqa: PLC0415 - an extra, and slow to import

    metrics = list(data.metrics.items())[:MOST_METRICS]
    rows = (len(metrics) + 1) // COLUMNS + 1
    figure = Figure(
        figsize=(WIDTH_INCHES, ROW_INCHES * rows), dpi=DOTS_PER_INCH, layout="constrained"
    )
    figure.suptitle(
        f"{data.settings['task']}, run {data.run}: {data.rounds[-1]['round']} rounds, "
        f"{data.refused.total()} refused"
    )
    theirs = ", participants' mean" if data.measured_by_participants else ""
    for place, (name, measured) in enumerate(metrics, start=1):
        axes = figure.add_subplot(rows, COLUMNS, place)
        versions = [data.rounds[index]["version"] for index, _ in measured]
        axes.plot(versions, [value for _, value in measured], color=BLUE, linewidth=1.6)
        axes.set_title(f"{name}{theirs}", fontsize="medium", loc="left")
        axes.set_xlabel("version")
        axes.grid(alpha=0.3)
    people = sorted(data.participants.values(), key=lambda each: -each.updates)[:MOST_PARTICIPANTS]
    names = [each.name for each in people]
    for place, (title, values) in enumerate(
        (
            ("updates that count", [each.updates for each in people]),
            ("examples", [each.examples for each in people]),
        ),
        start=1,
    ):
        axes = figure.add_subplot(rows, COLUMNS, (rows - 1) * COLUMNS + place)
        axes.barh(names, values, color=BLUE, height=0.6)
        axes.invert_yaxis()
        axes.set_title(title, fontsize="medium", loc="left")
        axes.grid(axis="x", alpha=0.3)
    for axes in figure.axes:
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(picture, format="png")

"""Our rounds and the floor's, measured alternately, so that both see the same load."""

import statistics

from benchmarks import floor
from benchmarks.federation import Federation
from benchmarks.processes import brokers_peak
from benchmarks.results import Row, quartiles


def compare(
    url: str,
    federation: Federation,
    *,
    case: str,
    num_bytes: int,
    participants: int,
    rounds: int,
    turns: int,
    limit: str = "",
    flags: tuple[str, ...] = (),
) -> Row:
    """Measure both in turns and compare the medians; the first round of each turn is left out."""
    ours: list[float] = []
    theirs: list[float] = []
    largest = 0
    for _ in range(turns):
        run = federation.run(rounds + 1, *flags)
        ours += run.seconds
        largest = max(largest, run.peaks.peak, run.largest_participant, brokers_peak())
        theirs += floor.run(url, num_bytes=num_bytes, participants=participants, rounds=rounds + 1)[
            1:
        ]
    return Row(
        case,
        ours=statistics.median(ours),
        floor=statistics.median(theirs),
        unit="s/round",
        limit=limit,
        details={
            "ours": quartiles(ours),
            "floor": quartiles(theirs),
            "largest process, bytes": largest,
        },
    )

"""Our rounds and the floor's, measured alternately, so that both see the same load."""

import os
import statistics
from collections.abc import Callable
from typing import TypeVar

from benchmarks import floor
from benchmarks.federation import Federation
from benchmarks.processes import brokers_peak
from benchmarks.results import Row, quartiles

PROCESSOR = "processor seconds of a round"
"""In the details of a row, for ours and for the floor."""
_T = TypeVar("_T")


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
    processor_ours: list[float] = []
    processor_floor: list[float] = []
    largest = 0
    for _ in range(turns):
        run = federation.run(rounds + 1, *flags)
        ours += run.seconds
        largest = max(largest, run.peaks.peak, run.largest_participant, brokers_peak())
        seconds, taken = _with_processor_seconds(
            lambda: floor.run(
                url, num_bytes=num_bytes, participants=participants, rounds=rounds + 1
            )
        )
        theirs += seconds[1:]
        processor_ours += run.processor_seconds
        processor_floor.append(taken / len(seconds))
    details = {
        "ours": quartiles(ours),
        "floor": quartiles(theirs),
        "largest process, bytes": largest,
    }
    if processor_ours:
        details[PROCESSOR] = {
            "ours": statistics.median(processor_ours),
            "floor": statistics.median(processor_floor),
        }
    return Row(
        case,
        ours=statistics.median(ours),
        floor=statistics.median(theirs),
        unit="s/round",
        limit=limit,
        details=details,
    )


def processor_time(row: Row) -> Row:
    """Return what a long round of this row took of the processors, but for the broker's part."""
    taken = row.details[PROCESSOR]
    return Row(
        f"{row.case}: processor time of coordinator and participants",
        ours=taken["ours"],
        floor=taken["floor"],
        unit="CPU s/round",
    )


def _with_processor_seconds(work: Callable[[], _T]) -> tuple[_T, float]:
    """Return what `work` returns, and what this process and those it waited for took meanwhile."""
    before = os.times()
    done = work()
    after = os.times()
    return done, sum(after[:4]) - sum(before[:4])

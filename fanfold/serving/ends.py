"""What the end of a coordinator means for its run. Pure."""

from dataclasses import dataclass
from datetime import datetime
from signal import SIGINT, SIGTERM
from typing import Literal

from fanfold.registry.record import RunRecord
from fanfold.schemas.events.coordinator import RunFinished

FAILED, WRONG_INPUT = 1, 2
_BY_SIGNAL = 128
SIGNALLED = frozenset({_BY_SIGNAL + SIGTERM, _BY_SIGNAL + SIGINT})
"""Exit codes of a command that a signal has ended before it could do anything."""
MOST_FAILURES = 5
"""So often a coordinator may end by itself without a new version; then its run has failed."""
Next = Literal["start again", "finish", "nothing"]


@dataclass(frozen=True, slots=True)
class Ending:
    """How a coordinator ended."""

    code: int
    """Its exit code, or less than 0 for the signal that killed it."""
    words: str
    """Its error message, or the end of its log."""
    has_message: bool
    """Whether `words` is a message."""
    finished: RunFinished | None
    """What it told of the end of the run, if it did."""
    was_started: bool
    """Whether it told that the run begins or goes on."""
    was_stopped: bool
    """Whether somebody asked it to end."""
    failures: int
    """How often one ended by itself since the last new version, with this time."""


def after(record: RunRecord, ending: Ending, now: datetime) -> tuple[RunRecord, Next]:
    """Return the record of a run whose coordinator ended, and what is to be done.

    A coordinator that was killed is started again, as often as it takes: it goes on from its
    checkpoint. So is one that lost its broker for good, or crashed, unless it does so again and
    again. What it was given and cannot use, and a run that can go no further, it says itself.
    """
    if not record.is_at_work:
        return record, "nothing"
    told = ending.finished
    if ending.code == 0 and told is not None:
        over = {
            "state": "finished" if record.state == "open" else "stopped",
            "reason": told.reason if record.state == "open" else record.reason,
            "ended_at": now,
            "accuracy": told.accuracy,
            "parameters_sha256": told.parameters_sha256,
        }
        return record.model_copy(update=over), "nothing"
    if record.state == "stopping" and ending.was_stopped:
        return record, "finish"
    is_own_end = ending.code >= 0 and ending.code not in SIGNALLED and not ending.was_stopped
    if is_own_end and (_is_final(ending) or ending.failures >= MOST_FAILURES):
        failed = {"state": "failed", "reason": ending.words, "ended_at": now}
        return record.model_copy(update=failed), "nothing"
    return record, "finish" if record.state == "stopping" else "start again"


def _is_final(ending: Ending) -> bool:
    """Whether another try would end in the same way."""
    if not ending.has_message:
        return False
    return ending.code == FAILED or (ending.code == WRONG_INPUT and not ending.was_started)

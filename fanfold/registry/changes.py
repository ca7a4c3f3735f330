"""What may become of a run: which one is opened next, and what a request makes of it. Pure."""

from collections.abc import Collection, Iterable
from datetime import datetime

from fanfold.registry.record import RunRecord, State
from fanfold.schemas.errors import InvalidInputError
from fanfold.schemas.operator_messages import Change

_BECOMES: dict[Change, dict[State, State]] = {
    "pause": {"queued": "paused", "open": "paused", "paused": "paused"},
    "go-on": {
        "paused": "queued",
        "failed": "queued",
        "queued": "queued",
        "open": "open",
    },
    "stop": {
        "queued": "stopping",
        "open": "stopping",
        "paused": "stopping",
        "failed": "stopping",
        "stopping": "stopping",
        "stopped": "stopped",
    },
}
"""By change: what each state becomes; from all others the change is refused."""

_INSTEAD: dict[Change, str] = {
    "pause": "only a run that is queued or open can be paused",
    "go-on": "only a run that is paused or failed can go on; `fanfold submit --from` begins a new "
    "one from its model",
    "stop": "only a run that is not over can be stopped",
    "close-round": "only the round of an open run can be closed",
    "remove": "stop or pause it first",
}


def next_to_open(records: Iterable[RunRecord], *, at_work: int, parallel_runs: int) -> list[str]:
    """Return the names of the runs to open now: those of the highest priority, then the oldest.

    Args:
        records: all runs.
        at_work: how many have a coordinator, or one that has not ended yet.
        parallel_runs: how many may have one.
    """
    queued = [record for record in records if record.state == "queued"]
    in_order = sorted(queued, key=lambda record: (-record.priority, record.number))
    return [record.run for record in in_order[: max(0, parallel_runs - at_work)]]


def changed(
    record: RunRecord, change: Change, *, request: str, login: str, now: datetime
) -> RunRecord:
    """Return a run after a request; the same one if the request has acted before.

    A run that is stopped without a version has no model to write, and is over at once.

    Raises:
        InvalidInputError: if that cannot be done to it now.
    """
    if request in record.requests:
        return record
    check(record, change)
    if change not in _BECOMES:
        return record.after(request)
    state = _BECOMES[change][record.state]
    if state == record.state:
        return record.after(request)
    words = {"paused": "paused", "stopping": "stopped"}.get(state)
    reason = None if words is None else f"{words} by {login}"
    if state == "stopping" and record.coordinator_run is None:
        return record.after(request, state="stopped", reason=reason, ended_at=now)
    return record.after(request, state=state, reason=reason, ended_at=None)


def check(record: RunRecord, change: Change) -> None:
    """Check that a change is possible.

    Raises:
        InvalidInputError: if it is not.
    """
    if change == "close-round":
        is_possible = record.state == "open"
    elif change == "remove":
        is_possible = not record.is_at_work
    else:
        is_possible = record.state in _BECOMES[change]
    if not is_possible:
        raise InvalidInputError(f"the run {record.run} is {record.state}; {_INSTEAD[change]}")


def new_name(task: str, taken: Collection[str]) -> str:
    """Return a name for a run of a task that no other run has: such as `digits-3`."""
    word = task.rpartition(":")[2] or task
    word = "".join(each if each.isalnum() and each.isascii() else "-" for each in word)[:48].lower()
    number = 1
    while f"{word}-{number}" in taken:
        number += 1
    return f"{word}-{number}"

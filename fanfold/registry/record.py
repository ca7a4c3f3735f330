"""What the registry remembers of one run: `run.json` in the run's folder.

The rounds, and who gave what to them, stand in the run's history beside it.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from fanfold.schemas.messages import Identifier

State = Literal["queued", "open", "paused", "stopping", "stopped", "finished", "failed"]
"""Where a run stands; see `docs/operations.md`."""
IS_OVER: frozenset[State] = frozenset({"stopped", "finished", "failed"})
"""States of runs that nothing more becomes of, unless somebody lets them go on."""
IS_AT_WORK: frozenset[State] = frozenset({"open", "stopping"})
"""States of runs that have a coordinator."""
MOST_REQUESTS = 32
"""So many of the last requests are remembered by each run."""


class Parent(BaseModel):
    """The version of another run that a run begins from."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    run: Identifier
    version: int
    parameters_sha256: str | None = None
    """Where the parent's file says so."""


class RunRecord(BaseModel):
    """One run of the registry. It does not change: `model_copy` makes the next one."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    run: Identifier
    """Its name in the registry, and on the broker: `F.run.RUN`."""
    number: int
    """Counted from 1, in the order in which runs were submitted."""
    state: State
    reason: str | None = None
    """Why it is in this state, in words, where that is not plain."""
    priority: int = 0
    submitted_at: datetime
    submitted_by: str
    """The broker login of who asked for it."""
    opened_at: datetime | None = None
    """When it was opened first."""
    ended_at: datetime | None = None
    task: str
    task_sha256: str | None = None
    """Of the task's source, as `fanfold check` prints it; known once the run was open."""
    options: Mapping[str, Any]
    """What was asked for, as the command line had it."""
    settings: Mapping[str, Any]
    """All settings of rounds and training that this comes to."""
    parent: Parent | None = None
    software: Mapping[str, str] = {}
    """Versions of Python, Fanfold and the libraries that it was last opened with."""
    coordinator_run: str | None = None
    """The id that its messages, its history and its models bear; known once it was open."""
    accuracy: float | None = None
    """Of the last version of a run that is over, where it was measured."""
    parameters_sha256: str | None = None
    """Of the last version of a run that is over."""
    declined: Mapping[str, str] = {}
    """Which participants do not take part, and why, in their words."""
    requests: tuple[str, ...] = ()
    """Ids of the requests that acted on it, the newest last: none acts twice."""

    @property
    def is_over(self) -> bool:
        """Whether nothing more becomes of it, unless somebody lets it go on."""
        return self.state in IS_OVER

    @property
    def is_at_work(self) -> bool:
        """Whether it has, or should have, a coordinator."""
        return self.state in IS_AT_WORK

    def after(self, request: str, **changes: Any) -> "RunRecord":
        """Return the record after a request has acted."""
        requests = (*self.requests, request)[-MOST_REQUESTS:]
        return self.model_copy(update={**changes, "requests": requests})

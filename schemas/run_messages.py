"""What a resident coordinator and its participants say of the runs that are open."""

from typing import Annotated, ClassVar

from pydantic import Field, StringConstraints

from fanfold.schemas.messages import Digest, Document, Identifier, Message, Text

MAX_OPEN_RUNS = 16
"""So many runs may be open at once: each has two connections of every participant."""

TASK_PATTERN = r"^[\w.:-]{1,200}$"
TaskName = Annotated[str, StringConstraints(pattern=TASK_PATTERN)]
"""A built-in task, or `package.module:ClassName`."""


class OpenRun(Document):
    """A run that participants may take part in, under the names of `F.run.RUN`."""

    run: Identifier
    task: TaskName
    task_sha256: Digest
    """Of the source of the task, as `fanfold check` prints it where the run was submitted."""


class OpenRuns(Message):
    """Resident coordinator to everybody, or to one: these runs are open, and no others."""

    KIND: ClassVar[str] = "OpenRuns"
    runs: Annotated[tuple[OpenRun, ...], Field(max_length=MAX_OPEN_RUNS, strict=False)] = ()


class RunDeclined(Message):
    """Participant to the resident coordinator: I take no part in this run, and why.

    It holds until the next Hello of the same participant with another `instance`.
    """

    KIND: ClassVar[str] = "RunDeclined"
    participant: Identifier
    instance: Identifier
    """As in its Hello."""
    run: Identifier
    reason: Text

"""What operators ask of `fanfold serve`, and its answers; see `docs/protocol.md`.

Every request has an id that its sender makes up, so that one that comes twice acts once.
"""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, StringConstraints

from fanfold.schemas.messages import Count, Identifier, Message, Text
from fanfold.schemas.tensor_table import Carried

Change = Literal["pause", "go-on", "stop", "close-round", "remove"]
"""What can be done to a run."""
Wanted = Literal["last", "best"] | Count
"""Which version of a run: the last one, the best one, or a number."""
OptionName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
OptionText = Annotated[str, StringConstraints(max_length=4096)]
Option = bool | OptionText | Annotated[list[OptionText], Field(max_length=256)]
Priority = Annotated[int, Field(ge=-1_000_000, le=1_000_000)]


class Request(Message):
    """What all requests have in common."""

    request: Identifier
    """Made up by the sender, the same when the request is repeated."""
    answer_to: Identifier
    """The routing key under which the sender waits for the answer."""


class SubmitRun(Request):
    """Operator to the service: put a run into the queue."""

    KIND: ClassVar[str] = "SubmitRun"
    name: Identifier | None = None
    """None lets the service choose one."""
    parent: Identifier | None = None
    """The run from one of whose versions it begins."""
    parent_version: Wanted = "last"
    priority: Priority = 0
    """Higher ones open first."""
    options: Annotated[dict[OptionName, Option], Field(max_length=256)]
    """The settings that were given, by name, as the command line had them."""


class ChangeRun(Request):
    """Operator to the service: let a run wait, go on or end."""

    KIND: ClassVar[str] = "ChangeRun"
    run: Identifier
    change: Change


class ReadRuns(Request):
    """Operator to the service: tell me of these runs."""

    KIND: ClassVar[str] = "ReadRuns"
    runs: Annotated[list[Identifier], Field(max_length=1000)]
    """By name, each with all that is known; if empty, all of them in short."""


class ReadModel(Request):
    """Operator to the service: send me a piece of a model's file."""

    KIND: ClassVar[str] = "ReadModel"
    run: Identifier
    wanted: Wanted
    offset: Count = 0
    """Where the piece begins, in bytes."""


class RequestAnswered(Message):
    """The service to an operator: what came of a request.

    Tensors: `document`, the answer as JSON in UTF-8; `piece`, bytes of a model's file.
    """

    KIND: ClassVar[str] = "RequestAnswered"
    TENSORS: ClassVar[Carried] = "values"
    request: Identifier
    refused: Text | None = None
    """Why nothing was done; None if it was."""

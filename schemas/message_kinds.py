"""All messages of a federation by the name of their kind."""

from fanfold.schemas.difference_message import GlobalDifference
from fanfold.schemas.keeper_messages import Masks, MasksRefused, MasksWanted, SetApproved
from fanfold.schemas.messages import (
    FinalModel,
    GlobalParameters,
    Goodbye,
    Hello,
    Message,
    Progress,
    RunFinished,
    Update,
    UpdateRefused,
)
from fanfold.schemas.operator_messages import (
    ChangeRun,
    ReadModel,
    ReadRuns,
    RequestAnswered,
    SubmitRun,
)
from fanfold.schemas.run_messages import OpenRuns, RunDeclined

MESSAGES: dict[str, type[Message]] = {
    kind.KIND: kind
    for kind in (
        *(GlobalParameters, GlobalDifference, FinalModel, RunFinished, UpdateRefused),
        *(Update, Hello, Progress, Goodbye),
        *(MasksWanted, SetApproved, Masks, MasksRefused),
        *(OpenRuns, RunDeclined),
        *(SubmitRun, ChangeRun, ReadRuns, ReadModel, RequestAnswered),
    )
}

"""The settings of commands that ask `fanfold serve` for something."""

from pydantic import Field

from fanfold.schemas.client_settings import CommandSettings, Positive
from fanfold.schemas.messages import Identifier


class OperatorSettings(CommandSettings):
    """Which service to ask, and how to reach its broker."""

    federation: Identifier = Field("fanfold", description="Name of the federation.")
    answer_seconds: Positive = Field(
        30.0, description="Seconds for which to wait for the answer of `fanfold serve`."
    )

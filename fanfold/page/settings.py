"""Where the page is served."""

from pydantic import BaseModel, ConfigDict, Field

PORT = 8600


class PageSettings(BaseModel):
    """The address of the page."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    port: int = Field(PORT, ge=0, le=65_535, description="Port of the page; 0 takes a free one.")

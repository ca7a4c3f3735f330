"""Events of a resident coordinator, `fanfold serve`, beside those of its runs."""

from dataclasses import dataclass

from fanfold.schemas.events.event import Event


@dataclass(frozen=True)
class ServiceStarted(Event):
    """The service holds the federation, and operators are heard."""

    federation: str
    folder: str
    """Of the registry."""
    runs: int
    """In the registry."""
    parallel_runs: int
    """So many may be open at a time."""

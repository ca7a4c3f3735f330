"""What the operator of a coordinator decides, and which of it has no effect."""

from fanfold.coordinator.settings.coordinator_settings import (
    CoordinatorSettings,
    HostedRoundSettings,
)
from fanfold.coordinator.settings.host_settings import HostSettings, IdentitySettings
from fanfold.coordinator.settings.round_settings import RoundSettings
from fanfold.coordinator.settings.run_settings import RunSettings
from fanfold.coordinator.settings.training_settings import TrainingSettings

__all__ = [
    "CoordinatorSettings",
    "HostSettings",
    "HostedRoundSettings",
    "IdentitySettings",
    "RoundSettings",
    "RunSettings",
    "TrainingSettings",
]

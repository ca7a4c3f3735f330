"""Where versions may travel as differences: everybody who answered one hears the next."""

from typing import Protocol

from fanfold.coordinator.rounds.closing_rule import RoundPolicy
from fanfold.schemas.encodings import DIFFERENCE
from fanfold.schemas.errors import InvalidInputError


class _Settings(Protocol):
    @property
    def encoding_down(self) -> str: ...
    @property
    def mode(self) -> str: ...
    @property
    def policy(self) -> RoundPolicy: ...


def check_differences(settings: _Settings) -> None:
    """Check that nothing else that was set stands against differences.

    Raises:
        InvalidInputError: if something does.
    """
    option = settings.encoding_down
    if not option.startswith(DIFFERENCE):
        return
    instead = "or choose float32, float16, bfloat16 or int8 for --encoding-down"
    if settings.mode != "sync" or settings.policy.max_staleness:
        raise InvalidInputError(
            f"--encoding-down {option} takes rounds in which updates of the newest version alone "
            f"count; set --mode sync and leave --max-staleness out, {instead}"
        )
    if settings.policy.fraction < 1:
        raise InvalidInputError(
            f"--encoding-down {option} sends what changed to whoever holds the version before, and "
            f"with --fraction few do; leave --fraction out, {instead}"
        )
    for name, why in _UNFIT.items():
        if getattr(settings, name, None):
            raise InvalidInputError(
                f"--encoding-down {option} does not go with --{name.replace('_', '-')}, {why}; "
                f"leave that out, {instead}"
            )


_UNFIT = {
    "dp_clip": "which is for whole versions so far",
    "masks": "which are for whole versions so far",
    "max_region_updates": "for a region hands on whole versions",
    "identity": "for sealed messages name a version by its seal",
}

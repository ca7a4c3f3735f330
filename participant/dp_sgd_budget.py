"""The privacy that DP-SGD has spent on this participant's examples, kept in a file."""

import json
from collections.abc import Callable
from pathlib import Path

from fanfold.learning import ExamplePrivacy
from fanfold.participant import state_files
from fanfold.participant.settings import ExamplePrivacySettings
from fanfold.schemas.errors import InvalidInputError
from fanfold.storage.disk import until_there_is_room

Pause = Callable[[OSError], None]


class DpSgdBudget:
    """Counts each training before it begins, so that the sum is not too small after a crash.

    Args:
        folder: where the file lies.
        noise: of the gradients, as a multiple of the clipping norm.
        delta: at which epsilon is told.
        pause: called with the error while the disk cannot be written.

    Raises:
        InvalidInputError: if the folder cannot be used, or the file is damaged.
        LearningError: if opacus is not installed.
    """

    def __init__(self, folder: Path, *, noise: float, delta: float, pause: Pause) -> None:
        from fanfold.learning import dp_sgd  # noqa: PLC0415 - opacus is optional, and slow to load

        self._epsilon = dp_sgd.epsilon
        self._path = folder / "dp-sgd.json"
        self._noise, self._delta, self._pause = noise, delta, pause
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise state_files.unusable(folder, error) from None
        self._read()

    def _read(self) -> dict[tuple[float, float], int]:
        """Read the file again each time: another process may have used the folder meanwhile."""
        try:
            known = json.loads(self._path.read_text()) if self._path.exists() else []
            return {(float(z), float(q)): int(steps) for z, q, steps in known}
        except OSError as error:
            raise state_files.unusable(self._path.parent, error) from None
        except (TypeError, ValueError):
            raise InvalidInputError(
                f"{self._path} is damaged, and with it what was spent; remove it to count anew"
            ) from None

    def spend(self, rate: float, steps: int) -> dict[str, float]:
        """Add a training to the file, synced; return epsilon and delta of all trainings.

        Raises:
            InvalidInputError: if the file was damaged meanwhile.
        """
        known, key = self._read(), (self._noise, rate)
        known[key] = known.get(key, 0) + steps
        spent = [(noise, rate, steps) for (noise, rate), steps in known.items()]
        line = json.dumps(spent).encode()
        until_there_is_room(lambda: state_files.replace(self._path, [line]), self._pause)
        return {"epsilon": self._epsilon(spent, self._delta), "delta": self._delta}


def example_privacy(
    settings: ExamplePrivacySettings, state_dir: Path | None, *, pause: Pause
) -> ExamplePrivacy | None:
    """Return the settings of DP-SGD that a participant chose; None if it does not use it.

    Raises:
        InvalidInputError: if the state folder cannot be used.
        LearningError: if opacus is not installed.
    """
    clip, noise = settings.dp_sgd_clip, settings.dp_sgd_noise
    if clip is None or noise is None or state_dir is None:
        return None
    budget = DpSgdBudget(state_dir, noise=noise, delta=settings.dp_sgd_delta, pause=pause)
    return ExamplePrivacy(clip=clip, noise=noise, spend=budget.spend)

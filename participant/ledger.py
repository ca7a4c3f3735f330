"""What DP-SGD has told of this participant's examples, in a file that outlives the process."""

import json
from pathlib import Path

from learning import ExamplePrivacy
from participant import durable
from participant.settings import ExamplePrivacySettings
from schemas.errors import InvalidInputError


class Ledger:
    """Counts trainings before they begin, so that no crash makes the sum too small."""

    def __init__(self, folder: Path, *, noise: float, delta: float) -> None:
        """Read what earlier lives spent.

        Raises:
            InvalidInputError: if the folder cannot be used, or the file is damaged.
            LearningError: if opacus is not installed.
        """
        from learning import dp_sgd  # noqa: PLC0415 - opacus is optional, and slow to load

        self._epsilon = dp_sgd.epsilon
        self._path = folder / "dp-sgd.json"
        self._noise, self._delta = noise, delta
        try:
            folder.mkdir(parents=True, exist_ok=True)
            known = json.loads(self._path.read_text()) if self._path.exists() else []
            self._steps = {(float(z), float(q)): int(steps) for z, q, steps in known}
        except OSError as error:
            raise InvalidInputError(
                f"--state-dir {folder} cannot be used ({error.strerror}); choose another folder"
            ) from None
        except (TypeError, ValueError):
            raise InvalidInputError(
                f"{self._path} is damaged, and with it what was spent; remove it to count anew"
            ) from None

    def spend(self, rate: float, steps: int) -> dict[str, float]:
        """Add a training, durably; return epsilon and delta of all there were."""
        key = (self._noise, rate)
        self._steps[key] = self._steps.get(key, 0) + steps
        spent = [(noise, rate, steps) for (noise, rate), steps in self._steps.items()]
        durable.replace(self._path, [json.dumps(spent).encode()])
        return {"epsilon": self._epsilon(spent, self._delta), "delta": self._delta}


def example_privacy(
    settings: ExamplePrivacySettings, state_dir: Path | None
) -> ExamplePrivacy | None:
    """Return the rules that a participant chose for its training; None where it chose none.

    Raises:
        InvalidInputError: if the state folder cannot be used.
        LearningError: if opacus is not installed.
    """
    clip, noise = settings.dp_sgd_clip, settings.dp_sgd_noise
    if clip is None or noise is None or state_dir is None:
        return None
    ledger = Ledger(state_dir, noise=noise, delta=settings.dp_sgd_delta)
    return ExamplePrivacy(clip=clip, noise=noise, spend=ledger.spend)

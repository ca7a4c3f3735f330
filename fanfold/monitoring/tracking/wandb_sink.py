"""Runs in Weights & Biases, whose environment variables apply, as WANDB_MODE and WANDB_API_KEY."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fanfold.monitoring.tracking.sink import TrackedRun
from fanfold.schemas.errors import InvalidInputError, how_to_install

PROJECT = "fanfold"


class WandbSink:
    """Writes through wandb, whose files lie in `wandb` in the folder of the run.

    Args:
        project: the name of the project; "" takes `fanfold`.
        folder: of the run.

    Raises:
        InvalidInputError: if wandb is not installed, or nobody is logged in while it is online.
    """

    def __init__(self, project: str, folder: Path) -> None:
        try:
            import wandb  # noqa: PLC0415 - an extra
        except ImportError:
            raise InvalidInputError(
                f"--track wandb takes the wandb package: {how_to_install('track')}"
            ) from None
        self._wandb: Any = wandb
        self._project = project or PROJECT
        self._folder = folder
        self._run: Any = None
        if wandb.setup().settings.mode in {"online", "shared"}:
            try:
                wandb.Api()
            except wandb.errors.UsageError:
                raise InvalidInputError(
                    "--track wandb finds nobody logged in: set WANDB_API_KEY, or "
                    "WANDB_MODE=offline to write files that `wandb sync` uploads later"
                ) from None
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InvalidInputError(
                f"--out {folder} cannot be written to ({error.strerror}); choose another folder"
            ) from None

    def begin(self, run: TrackedRun) -> None:
        """Begin a run, or go on with the one of the same id."""
        again = {"id": run.run, "resume": "allow"} if run.goes_on else {}
        self._run = self._wandb.init(
            project=self._project,
            name=run.run,
            config=dict(run.settings),
            dir=self._folder,
            settings=self._settings(),
            reinit="finish_previous",
            **again,
        )

    def add(self, round_number: int, scalars: Mapping[str, float]) -> None:
        """Log one value of each metric; its step is the round."""
        if self._run is not None:
            self._run.log(dict(scalars), step=round_number)

    def end(self, summary: Mapping[str, Any]) -> None:
        """End the run, with the summary beside its last values."""
        if self._run is not None:
            self._run.summary.update(dict(summary))
            self._run.finish()
            self._run = None

    def close(self) -> None:
        """End a run that was stopped."""
        if self._run is not None:
            self._run.finish(exit_code=1)

    def _settings(self) -> Any:
        """Return settings under which it prints nothing and looks at nothing but the points."""
        return self._wandb.Settings(
            silent=True, console="off", disable_git=True, save_code=False, disable_code=True
        )

"""A run as scripts and notebooks see it."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from torch import nn

from fanfold.coordinator.persistence.history import HISTORY
from fanfold.coordinator.persistence.model_names import BEST, DIGEST, MODEL
from fanfold.coordinator.persistence.records import records_of
from fanfold.runs.history import History, Participation
from fanfold.runs.load import load
from fanfold.schemas.errors import InvalidInputError
from fanfold.schemas.events.coordinator import RoundClosed
from fanfold.simulation import plot
from fanfold.simulation.curves import curve_of
from fanfold.storage import safetensors_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Run:
    """A run in its folder: its rounds, who took part, and the models that came out of it.

    `fanfold.run` and `fanfold.simulate` return one, and `Run(folder)` opens that of any
    coordinator. The history is read when it is opened, a model when it is asked for.

    Args:
        folder: what was given as `out`.

    Attributes:
        folder: where models, history and checkpoint are.
        history: the closed rounds, oldest first.

    Raises:
        InvalidInputError: if there is no run in the folder.

    Example:
        >>> run = fanfold.simulate(Radiology, participants=20, rounds=10)
        >>> run.history[-1].accuracy, run.participants["participant-0"].examples
        >>> network = run.model(Radiology().network())
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.history = History.read(self.folder)

    def __repr__(self) -> str:
        if not self.history:
            return f"<Run in {self.folder}, no round closed>"
        last = self.history[-1]
        metrics = {"loss": last.loss, "accuracy": last.accuracy}
        told = [f"{name} {value:.4f}" for name, value in metrics.items() if value is not None]
        return f"<Run in {self.folder}, {', '.join([f'{len(self.history)} rounds', *told])}>"

    @property
    def participants(self) -> Mapping[str, Participation]:
        """What each participant gave, by id: updates, examples, staleness."""
        return self.history.participants

    @property
    def best(self) -> RoundClosed | None:
        """The round whose version `best_model` loads: the last one where none was measured.

        None after a run of no rounds.
        """
        version = int(self._metadata(BEST)["version"])
        return next((closed for closed in self.history if closed.version == version), None)

    @property
    def parameters_sha256(self) -> str:
        """The digest of the last version's parameters: equal runs have equal ones.

        Raises:
            InvalidInputError: if there is no last model, because the run was stopped.
        """
        return self._metadata(MODEL)[DIGEST]

    def model(self, network: nn.Module, *, strict: bool = True) -> nn.Module:
        """Copy the last version into a network, and return it in evaluation mode; see `load`."""
        return load(self.folder / MODEL, network, strict=strict)

    def best_model(self, network: nn.Module, *, strict: bool = True) -> nn.Module:
        """Copy the best version into a network, and return it in evaluation mode; see `load`."""
        return load(self.folder / BEST, network, strict=strict)

    def plot(self, metric: str | None = None) -> "Figure":
        """Draw a metric over the time of the run; a notebook shows the figure.

        Args:
            metric: such as "loss"; by default the accuracy, or the loss where there is none.

        Raises:
            InvalidInputError: if no round has it, or there is no matplotlib.
        """
        plot.check_matplotlib()
        for name in ("accuracy", "loss") if metric is None else (metric,):
            curve = curve_of(records_of(self.folder / HISTORY), "time", name)
            if curve.at:
                groups = {"": [curve]}
                title = str(self.folder)
                return plot.figure(groups, title=title, metric=name, axis="time", clock="time")
        wanted = "a metric" if metric is None else metric
        raise InvalidInputError(f"no round of the run in {self.folder} has {wanted}")

    def _metadata(self, name: str) -> dict[str, str]:
        try:
            return safetensors_file.read_metadata(self.folder / name)
        except (OSError, safetensors_file.DamagedFileError):
            raise InvalidInputError(
                f"there is no {name} in {self.folder}: a run writes it at its end"
            ) from None

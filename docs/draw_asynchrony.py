"""Draws `images/asynchrony.png`: where each mode ends when fast and slow participants disagree.

python -m docs.draw_asynchrony
"""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from fanfold import Task, TrainingPlan
from fanfold.coordinator.persistence.history import read_history
from fanfold.coordinator.rounds.closing_rule import Mode
from fanfold.coordinator.settings import RoundSettings
from fanfold.simulation.settings import SimulationSettings
from fanfold.simulation.simulate import run

MODES: tuple[Mode, ...] = ("sync", "buffered", "async", "exact")
SECONDS = 600.0
START = 0.5
PICTURE = Path(__file__).parent / "images" / "asynchrony.png"


class Weight(nn.Module):
    """One number."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((1,), START))

    def forward(self, inputs: Tensor) -> Tensor:
        """Return how far it is from what is wanted."""
        return self.weight - inputs


class TwoSlopes(Task):
    """Losses (w - 1)^2 / 2 for every other participant, and (w + 1)^2 / 2 for the slow ones."""

    def network(self) -> nn.Module:
        """Return the weight."""
        return Weight()

    def train_data(self) -> TensorDataset:
        """Return what this participant wants."""
        return TensorDataset(torch.tensor([[1.0], [-1.0]])[self.partition_index % 2, None])

    def test_data(self) -> TensorDataset:
        """Return anything, so that versions are evaluated."""
        return TensorDataset(torch.zeros(1, 1))

    def fit(self, network: nn.Module, data: Any, plan: TrainingPlan) -> list[dict[str, float]]:
        """Take one step down the slope."""
        loss = network(data.tensors[0]).square().mean() / 2
        loss.backward()
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.sub_(parameter.grad, alpha=plan.lr)
                parameter.grad = None
        return [{"loss": float(loss.detach())}]

    def evaluate(self, network: nn.Module, data: Any) -> dict[str, float]:
        """Return the weight itself."""
        del data
        return {"weight": float(next(network.parameters()).detach())}


def curves(folder: Path) -> dict[str, list[tuple[float, float]]]:
    """Simulate every mode, and return seconds and weights."""
    settings = SimulationSettings(
        mode=MODES,
        participants=8,
        speeds="every:2:10",
        example_seconds=1.0,
        simulated_hours=SECONDS / 3600,
        plot=False,
        out=folder,
        device="cpu",
    )

    def rounds_of(mode: str) -> RoundSettings:
        return RoundSettings(
            task="docs.draw_asynchrony:TwoSlopes",
            mode=mode,  # type: ignore[arg-type]  # one of MODES
            rounds=1_000_000,
            lr=0.1,
            momentum=0.0,
        )

    run(settings, rounds_of, say=lambda *_: None, on_ready=lambda _: None)
    found = {}
    for mode in MODES:
        clock, points = 0.0, [(0.0, START)]
        for record in read_history(folder / mode / "history.jsonl"):
            if record["event"] == "round_closed":
                clock += record["seconds"]
                points.append((clock, record["metrics"]["weight"]))
        found[mode] = points
    return found


def main() -> None:
    """Draw the picture."""
    with TemporaryDirectory() as folder:
        found = curves(Path(folder))
    figure = Figure(figsize=(8.0, 4.0), dpi=110, layout="constrained")
    axes = figure.add_subplot()
    for mode, points in found.items():
        axes.plot(*zip(*points, strict=True), label=mode, linewidth=1.3)
        print(f"{mode}: ends at {points[-1][1]:.3f}")  # noqa: T201 - what the page says
    axes.axhline(0.0, color="black", linewidth=0.6)
    axes.set_xlabel("seconds; a training takes the fast ones 1 s, the slow ones 10 s")
    axes.set_ylabel("w; 1 is best for the fast, -1 for the slow")
    axes.grid(alpha=0.3)
    axes.legend(frameon=False, loc="right")
    figure.savefig(PICTURE, format="png")


if __name__ == "__main__":
    main()

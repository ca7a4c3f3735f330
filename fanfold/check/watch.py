"""Watches what a task does while it trains."""

import time
from dataclasses import dataclass, field
from typing import Any

from fanfold.check.batch import described
from fanfold.learning import Task


@dataclass(slots=True)
class Watch:
    """What the task does while it trains."""

    batch: str = "-"
    """What the first batch is, in words."""
    stops_asked: int = 0
    """How often the training asked whether it should stop."""
    ended: list[float] = field(default_factory=list)
    """When each step ended, on the monotonic clock."""
    told: dict[str, None] = field(default_factory=dict)
    """What it noted, in order, each sentence once."""

    def should_stop(self) -> bool:
        """Note that somebody asked; never stop."""
        self.stops_asked += 1
        return False

    def on_step(self, _step: int, _steps: int, _loss: Any) -> None:
        """Note a step."""
        self.ended.append(time.monotonic())

    def note(self, sentence: str) -> None:
        """Note what the training decided by itself."""
        self.told[sentence] = None

    def see_batches(self, task: Task) -> None:
        """Note what the first batch is that a task processes."""
        process = task.process_batch

        def process_batch(network: Any, batch: Any) -> Any:
            if self.batch == "-":
                self.batch = described(batch)
            return process(network, batch)

        vars(task)["process_batch"] = process_batch

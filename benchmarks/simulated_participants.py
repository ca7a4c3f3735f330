"""Does the cost of a simulated update grow with the number of participants?

    python -m benchmarks.simulated_participants

Rounds, staleness and folding are the coordinator's own. The model is one number and the training
trivial, so that the simulation itself is measured. Times are processor time, which other processes
do not change.
"""

import time
from collections.abc import Collection

import torch

from fanfold.coordinator.aggregation.optimizer_spec import parse_optimizer
from fanfold.coordinator.aggregation.run_state import RunState, UpdateLimits
from fanfold.coordinator.aggregation.staleness import parse_staleness
from fanfold.coordinator.rounds.closing_rule import RoundPolicy
from fanfold.schemas.messages import Update
from fanfold.simulation.event_loop import EventLoop
from fanfold.simulation.speeds import slowness

NUM_UPDATES = 20_000
DIGEST = "0" * 64


class OneNumber:
    """What the simulator simulates here: a model of one number, to which every update adds one."""

    def __init__(self, names: list[str], rounds: int) -> None:
        self._names = names
        self._rounds = rounds
        self.num_updates = 0
        self.run = RunState(
            run_id="r",
            tensors={"x": torch.zeros(1)},
            kinds={"x": "delta"},
            staleness=parse_staleness("polynomial:0.5"),
            optimizer=parse_optimizer("sgd:lr=1"),
            limits=UpdateLimits(max_staleness=10**6),
        )

    @property
    def version(self) -> int:
        return self.run.version

    @property
    def is_over(self) -> bool:
        return self.run.version >= self._rounds

    def publish(self, receivers: Collection[int]) -> None:
        self.run.announced(DIGEST)

    def send(self, participant: int) -> None:
        pass

    def resend(self, num_receivers: int) -> None:
        pass

    def hold(self, version: int) -> None:
        pass

    def let_go(self, version: int) -> None:
        pass

    def training_seconds(self, participant: int) -> float:
        return 1.0

    def sending_seconds(self, participant: int) -> float:
        return 0.0

    def answer(self, participant: int, base_version: int) -> int | None:
        self.num_updates += 1
        update = Update(
            run="r",
            participant=self._names[participant],
            base_version=base_version,
            base_digest=DIGEST,
            num_examples=1,
        )
        delta = {"x": torch.ones(1)}
        if self.run.judge(update, "") or self.run.inspect(delta, {"x": "delta"}):
            return None
        return self.run.fold(update, delta, DIGEST).staleness

    def close_round(self, now: float, seconds: float) -> None:
        self.run.close_round()


def microseconds_per_update(num_participants: int, policy: RoundPolicy) -> float:
    """Return the cost of one update in microseconds, without that of starting."""
    names = [f"participant-{index}" for index in range(num_participants)]
    per_round = num_participants if policy.goal == "all" else policy.goal
    world = OneNumber(names, max(2, NUM_UPDATES // per_round))
    loop = EventLoop(world, names, slowness("lognormal:1.0", num_participants, 0), policy=policy)
    began = time.process_time()
    loop.run()
    return (time.process_time() - began) / world.num_updates * 1e6


def main() -> None:
    """Print one line for each mode."""
    torch.set_num_threads(1)
    modes = {
        "sync": RoundPolicy(),
        "buffered, goal 100": RoundPolicy(goal=100, max_staleness=10**6, only_fresh_count=False),
        "async": RoundPolicy(goal=1, max_staleness=10**6, only_fresh_count=False),
    }
    for name, policy in modes.items():
        few, many = (microseconds_per_update(number, policy) for number in (1_000, 10_000))
        print(
            f"{name}: {few:.0f} us an update among 1,000 participants, "
            f"{many:.0f} us among 10,000: {many / few:.2f} times as much"
        )


if __name__ == "__main__":
    main()

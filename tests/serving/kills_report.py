"""What a run of `make service` leaves behind, as a page: docs/service.md."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

HEAD = """# Runs at once, killed again and again

What one run of `make service SERVICE_REPORT=docs/service.md` left behind: {machine}.
{participants} participants, {num_runs} runs of {rounds} rounds, all at once (`--parallel-runs`).
After a round of any of them one process is killed with SIGKILL, drawn from a seed: the service, the
coordinator of a run, a participant or the broker. Every run's model has to be, bit for bit, that of
the same run in a federation of its own that is left in peace, and so has the file that is pulled.

{kills} kills within {seconds:.0f} s, while {versions} versions were made.

| killed | times |
| --- | ---: |
"""
RUNS = """
| run | options | updates that count | `parameters_sha256`: run, pulled file, and the run alone |
| --- | --- | ---: | --- |
"""


@dataclass(slots=True)
class Kills:
    """What was killed, and what came of each run."""

    machine: str
    participants: int
    rounds: int
    seconds: float = 0.0
    versions: int = 0
    victims: Counter[str] = field(default_factory=Counter)
    hashes: dict[str, str] = field(default_factory=dict)
    """By run, once they were found equal."""

    def page(self, runs: Mapping[str, tuple[str, ...]]) -> str:
        """Return the page; `runs` are the options of each."""
        head = HEAD.format(
            machine=self.machine,
            participants=self.participants,
            num_runs=len(runs),
            rounds=self.rounds,
            kills=self.victims.total(),
            seconds=self.seconds,
            versions=self.versions,
        )
        killed = [f"| {name} | {times} |\n" for name, times in self.victims.most_common()]
        updates = self.rounds * self.participants
        told = [
            f"| {run} | `{' '.join(flags)}` | {updates} | `{self.hashes[run]}` |\n"
            for run, flags in runs.items()
        ]
        return head + "".join(killed) + RUNS + "".join(told)

"""A masked federation whose coordinator, keepers and participants are killed loses no bit."""

import os
import random
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from faulty_run import Run
from padded_task import VARIABLE
from services import Service, until

from fanfold.runs.replay import replay
from fanfold.runs.settings import ReplaySettings
from fanfold.sealing.identity import PUBLIC_FILE, Identity
from fanfold.sealing.roster import changing

# Processes that are killed: `make faults`, and a short cut of it in the gate.
pytestmark = pytest.mark.slow

PARTICIPANTS = 8
GOAL = 5
KILLS = int(os.environ.get("FANFOLD_TEST_MASKED_KILLS", "20"))
VICTIMS = ("coordinator", "keeper", "participant")
PHASES = {
    "coordinator": ("publishing", "folding", "committing", "acknowledging", "aggregating"),
    "keeper": ("computing", "promising", "answering"),
    "participant": ("training", "uploading", "downloading"),
}
AIM_SECONDS = 3.0
PATIENCE_SECONDS = 180.0


class Masked:
    """Eight participants with keys, three keepers, and one coordinator."""

    def __init__(self, run: Run, *, seed: int) -> None:
        self.run, self.dice = run, random.Random(seed)
        self.keys = run.folder / "keys"
        names = [f"participant-{index}" for index in range(PARTICIPANTS)]
        for name in (*names, "keeper-0", "keeper-1", "keeper-2"):
            Identity.generate().write(self.keys / name)
        with changing(self.keys / "roster") as held:
            for name in names:
                held[0] = held[0].enroll(name, Identity.read(self.keys / name).public)
        self.masks = [f"--masks={self._public(f'keeper-{place}')}" for place in range(3)]
        self.keepers = [self._keep(place) for place in range(3)]
        self.participants = [self._take_part(index) for index in range(PARTICIPANTS)]
        self.coordinator = run.coordinate(*self._flags(rounds=10**6))
        self.killed: Counter[str] = Counter()

    def _public(self, name: str) -> Path:
        return self.keys / name / PUBLIC_FILE

    def _keep(self, place: int) -> Service:
        me = f"keeper-{place}"
        return self.run.services.add(
            me,
            "keeper",
            "--json",
            f"--federation={self.run.federation}",
            f"--identity={self.keys / me}",
            f"--roster={self.keys / 'roster'}",
            f"--state-dir={self.keys / me / 'state'}",
            f"--masks-at-least={GOAL}",
            *(f"--peer={self._public(f'keeper-{peer}')}" for peer in range(3) if peer != place),
            "--reconnect-seconds=1",
        )

    def _take_part(self, index: int) -> Service:
        me = f"participant-{index}"
        return self.run.take_part(
            index,
            *self.masks,
            f"--mask-identity={self.keys / me}",
            f"--state-dir={self.run.folder / 'states' / me}",
            "--reconnect-seconds=1",
            of=PARTICIPANTS,
            **{VARIABLE: "0.2"},
        )

    def _flags(self, *, rounds: int) -> list[str]:
        return [
            *self.masks,
            "--encoding=fixed",
            "--max-examples=400",
            f"--rounds={rounds}",
            f"--masks-at-least={GOAL}",
            f"--goal={GOAL}",
            f"--quorum={GOAL}",
            f"--min-participants={GOAL}",
            "--mode=buffered",
            "--deadline-seconds=20",
            "--commit-seconds=0.2",
            "--commit-updates=2",
            "--reconnect-seconds=1",
        ]

    @property
    def rounds(self) -> int:
        return len(self.run.told("coordinator", "round_closed"))

    def go_on(self, rounds: int = 1) -> None:
        wanted = self.rounds + rounds
        until(lambda: self.rounds >= wanted, f"round {wanted}", seconds=PATIENCE_SECONDS)

    def kill(self, victim: Service, phase: str | None) -> None:
        """Kill a service in a phase if it enters that soon, and start it again."""
        if phase is not None:
            victim.note.aim = (phase, 0.0, "die")
            ends = time.monotonic() + AIM_SECONDS
            until(
                lambda: self.run.services.has_ended(victim) or time.monotonic() > ends,
                "the end of a pause",
            )
        died_in = self.run.services.kill(victim)
        self.killed[f"{victim.arguments[0]} while {died_in}"] += 1
        self.run.services.start(victim)

    def round_with_two_deaths(self) -> None:
        """Let two of eight die, come what may, while a round goes on without them."""
        dead = self.dice.sample(self.participants, 2)
        for each in dead:
            self.killed[f"one of two while {self.run.services.kill(each)}"] += 1
        self.go_on()
        for each in dead:
            self.run.services.start(each)

    def finish(self, rounds: int) -> str:
        """Go on to a last round, and return the hash of the parameters."""
        self.run.services.terminate(self.coordinator)
        self.run.services.wait(self.coordinator)
        self.coordinator.arguments[-1:] = ["--reconnect-seconds=1"]
        flags = self.coordinator.arguments
        at = next(index for index, flag in enumerate(flags) if flag.startswith("--rounds="))
        flags[at] = f"--rounds={self.rounds + rounds}"
        self.run.services.start(self.coordinator)
        return self.run.finish(self.coordinator)


@pytest.mark.timeout(1800)
def test_sums_of_a_masked_run_are_those_of_the_run_unmasked_whoever_is_killed(run: Run) -> None:
    """Two of eight participants die in each round, and 20 kills hit the others in any phase.

    Every update that counted is trained again, unmasked, and summed: the run ends at the same bits.
    """
    masked = Masked(run, seed=3)
    masked.go_on()
    for number in range(KILLS):
        kind = VICTIMS[number % len(VICTIMS)]
        everybody = {
            "coordinator": [masked.coordinator],
            "keeper": masked.keepers,
            "participant": masked.participants,
        }[kind]
        aim = masked.dice.choice((None, *PHASES[kind]))
        masked.kill(masked.dice.choice(everybody), aim)
        masked.round_with_two_deaths()
    ended_at = masked.finish(rounds=2)
    names = run.updates()
    replayed = replay(
        ReplaySettings(out=run.out, num_partitions=PARTICIPANTS), say=lambda _event: None
    )
    told = f"{dict(masked.killed)}, {replayed.rounds} rounds, {len(names)} updates"
    sys.stdout.write(f"{told}\n")
    assert replayed.agrees
    assert replayed.parameters_sha256 == ended_at
    assert replayed.updates == len(names) >= GOAL * KILLS
    assert sum(masked.killed.values()) == 3 * KILLS
    logs = [path for path in run.folder.glob("*.log") if "Traceback" in path.read_text()]
    assert logs == []

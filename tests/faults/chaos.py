"""Kill -9 of coordinator, participants and broker, again and again, and what must be true after.

    python tests/faults/chaos.py --kills 51 --rounds 400 --seed 0 --report docs/chaos.md

A real broker, real processes. The kills are drawn from the seed: who, and how long after which
round. Half of those of coordinator and participants are aimed: the victim kills itself in a phase
that is drawn too, because the shortest phases would hardly ever be hit from outside. Afterwards

- every round was closed once, and in time: what hangs is an error;
- no update counts twice, and none that was acknowledged is missing, as the names in the history
  prove;
- the last model has the hash of an undisturbed replay in memory.

What the operating system does with the processes in between is not seeded: two runs of one seed
kill the same ones at the same points of the plan, but meet them in different phases.
"""

import argparse
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import padded_task
from chaos_proof import prove
from chaos_report import report
from services import HangError, Nursery, Service, Services, until

from warren.options import BROKER_VARIABLE

sys.path.insert(0, str(Path(__file__).parents[1]))  # a script finds only what lies beside it
from nodes import BrokerNode

Victim = Literal["coordinator", "participant", "broker"]

PARTICIPANTS = 4
TRAINING_SECONDS = 0.3
PHASES: dict[Victim, tuple[str, ...]] = {
    "coordinator": ("publishing", "folding", "aggregating", "committing", "acknowledging"),
    "participant": ("downloading", "training", "uploading"),
    "broker": (),
}
ROUNDS_PER_KILL = 6
AIM_SECONDS = 1.0
"""How long an aimed kill waits for its phase; then it falls where it falls."""
LATE_SECONDS = 0.003
"""How deep in its phase an aimed kill falls at most; every second one falls at its beginning."""


@dataclass(frozen=True, slots=True)
class Kill:
    """One kill of the plan."""

    victim: Victim
    after_round: int
    delay_seconds: float
    aim: str | None
    aim_seconds: float
    """How long after the beginning of the phase."""
    pause_seconds: float
    """How long the victim stays dead."""


@dataclass(slots=True)
class Ledger:
    """What really happened."""

    phases: dict[Victim, Counter[str]] = field(
        default_factory=lambda: {victim: Counter() for victim in PHASES}
    )
    seconds: float = 0.0
    starts: int = 0
    """Of the coordinator."""

    @property
    def num_kills(self) -> int:
        return sum(counter.total() for counter in self.phases.values())


def plan(kills: int, rounds: int, seed: int) -> list[Kill]:
    """Draw as many kills of each kind, spread over the first three quarters of the rounds.

    The rest is for the rounds that go by while a kill waits for its phase: up to seven, in the
    second and a half that delay and aim may take.

    Raises:
        ValueError: if so few rounds may be over before the last kill falls.
    """
    if rounds < kills * ROUNDS_PER_KILL:
        raise ValueError(f"{kills} kills need at least {kills * ROUNDS_PER_KILL} rounds")
    dice = random.Random(seed)
    kinds: tuple[Victim, ...] = ("coordinator", "participant", "broker")
    victims = [kinds[number % len(kinds)] for number in range(kills)]
    dice.shuffle(victims)
    planned = []
    for number, victim in enumerate(victims):
        aimed = bool(PHASES[victim]) and dice.random() < 0.5
        planned.append(
            Kill(
                victim,
                after_round=number * rounds * 3 // (kills * 4),
                delay_seconds=dice.uniform(0, 0.6),
                aim=dice.choice(PHASES[victim]) if aimed else None,
                aim_seconds=max(0.0, dice.uniform(-LATE_SECONDS, LATE_SECONDS)),
                pause_seconds=dice.uniform(0, 0.3),
            )
        )
    return planned


class Chaos:
    """One run and everything that is done to it."""

    def __init__(self, folder: Path, *, rounds: int, seed: int, say: bool) -> None:
        self._folder = folder
        self._rounds = rounds
        self._dice = random.Random(f"victims of {seed}")
        self._say = say
        self._seed = seed
        self.ledger = Ledger()

    @property
    def out(self) -> Path:
        return self._folder / "run"

    def run(self, kills: list[Kill]) -> None:
        """Start everybody, kill as planned, and wait for the end of the run."""
        began = time.monotonic()
        with (
            BrokerNode.start() as broker,
            Nursery() as nursery,
            Services(nursery, self._folder, _environment(broker)) as services,
        ):
            coordinator = services.add("coordinator", *self._coordinator_arguments())
            participants = [
                services.add(f"participant-{index}", *self._participant_arguments(index))
                for index in range(PARTICIPANTS)
            ]
            for kill in kills:
                self._carry_out(kill, broker, services, coordinator, participants)
            until(lambda: services.has_ended(coordinator), "the end of the run")
            code = services.wait(coordinator)
            assert code == 0, f"the coordinator ended with {code}"
            for participant in participants:
                services.terminate(participant)
            for participant in participants:
                code = services.wait(participant)
                # One that was killed last of all may still be starting, and has nothing to tidy up.
                assert code in (0, -signal.SIGTERM), f"{participant.name} ended with {code}"
            self.ledger.starts = coordinator.lives
        self.ledger.seconds = time.monotonic() - began

    def _carry_out(
        self,
        kill: Kill,
        broker: BrokerNode,
        services: Services,
        coordinator: Service,
        participants: list[Service],
    ) -> None:
        until(
            lambda: (
                self._last_round(services) >= kill.after_round or services.has_ended(coordinator)
            ),
            f"round {kill.after_round}",
        )
        time.sleep(kill.delay_seconds)
        assert not services.has_ended(coordinator), "the run is over before the last kill"
        if kill.victim == "broker":
            phase = coordinator.note.phase
            broker.kill()
            time.sleep(kill.pause_seconds)
            broker.resume()
        else:
            victim = (
                coordinator if kill.victim == "coordinator" else self._dice.choice(participants)
            )
            if kill.aim is not None:
                _await_end(services, victim, kill.aim, kill.aim_seconds)
            phase = services.kill(victim)
            time.sleep(kill.pause_seconds)
            services.start(victim)
        self.ledger.phases[kill.victim][phase] += 1
        if self._say:
            sys.stdout.write(
                f"kill {self.ledger.num_kills}: {kill.victim} while {phase}"
                f"{' (the coordinator)' if kill.victim == 'broker' else ''}, "
                f"after round {self._last_round(services)}\n"
            )
            sys.stdout.flush()

    @staticmethod
    def _last_round(services: Services) -> int:
        closed = [
            event["round"]
            for event in services.events("coordinator")
            if event["event"] == "round_closed"
        ]
        return max(closed, default=0)

    def _coordinator_arguments(self) -> list[str]:
        return [
            "coordinator",
            "--json",
            "--task=padded_task:LinearDigits",
            f"--out={self.out}",
            f"--rounds={self._rounds}",
            f"--seed={self._seed}",
            "--mode=buffered",
            "--goal=3",
            "--server-optimizer=sgd:lr=1,momentum=0.5",
            f"--min-participants={PARTICIPANTS}",
            "--deadline-seconds=5",
            "--commit-seconds=0.2",
            "--commit-updates=2",
            "--chunk-bytes=4096",
            "--steps=3",
            "--threads=1",
            "--evaluate-every=10",
            "--heartbeat-seconds=10",
            "--connect-seconds=60",
        ]

    def _participant_arguments(self, index: int) -> list[str]:
        """Every second one has a folder for its state, the others begin anew."""
        state = [f"--state-dir={self._folder / f'state-{index}'}"] if index % 2 else []
        return [
            "participant",
            "--json",
            f"--id=participant-{index}",
            "--task=padded_task:LinearDigits",
            f"--partition-index={index}",
            f"--num-partitions={PARTICIPANTS}",
            f"--seed={self._seed}",
            "--progress-seconds=1",
            "--chunk-bytes=4096",
            "--heartbeat-seconds=10",
            "--connect-seconds=60",
            *state,
        ]


def _environment(broker: BrokerNode) -> dict[str, str]:
    return {BROKER_VARIABLE: broker.url, padded_task.VARIABLE: str(TRAINING_SECONDS)}


def _await_end(services: Services, victim: Service, phase: str, seconds: float) -> None:
    victim.note.aim = (phase, seconds)
    with suppress(HangError):
        until(lambda: services.has_ended(victim), f"{phase} of {victim.name}", seconds=AIM_SECONDS)


def main() -> None:
    """Run it from the command line."""
    parser = argparse.ArgumentParser(description="Kill everything, and see that nothing is lost.")
    parser.add_argument("--kills", type=int, default=51)
    parser.add_argument("--rounds", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--report", type=Path, help="write what happened to this Markdown file")
    parser.add_argument("--folder", type=Path, help="keep logs and the run here")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="warren-chaos-") as temporary:
        folder = arguments.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        chaos = Chaos(folder, rounds=arguments.rounds, seed=arguments.seed, say=True)
        chaos.run(plan(arguments.kills, arguments.rounds, arguments.seed))
        replayed = prove(chaos.out, rounds=arguments.rounds, participants=PARTICIPANTS)
        text = report(
            phases=chaos.ledger.phases,
            seconds=chaos.ledger.seconds,
            starts=chaos.ledger.starts,
            replayed=replayed,
            command=f"python tests/faults/chaos.py --kills {arguments.kills} "
            f"--rounds {arguments.rounds} --seed {arguments.seed}",
        )
    sys.stdout.write(text)
    if arguments.report is not None:
        arguments.report.write_text(text)


if __name__ == "__main__":
    main()

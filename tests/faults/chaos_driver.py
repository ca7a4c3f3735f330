"""Carries out a plan on a federation, and records what happened."""

import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field

from chaos_federation import Federation
from chaos_names import Name
from chaos_plan import PHASES, Disturbance, Kill, Step, Victim
from services import HangError, Service

AIM_SECONDS = 1.0
"""How long an aimed kill waits for its phase; then the victim is killed in any phase."""
LAST_ROUNDS = 5


@dataclass(slots=True)
class ChaosOutcome:
    """What really happened."""

    phases: dict[Victim, Counter[str]] = field(
        default_factory=lambda: {victim: Counter() for victim in PHASES}
    )
    disturbances: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    acknowledged: set[Name] = field(default_factory=set)
    """Updates that were acknowledged before a checkpoint was damaged; of one federation."""
    seconds: float = 0.0
    starts: int = 0
    """How often coordinators were started."""

    @property
    def num_kills(self) -> int:
        return sum(counter.total() for counter in self.phases.values())

    def add(self, other: "ChaosOutcome") -> None:
        """Add the outcome of another federation."""
        for victim, counter in other.phases.items():
            self.phases[victim] += counter
        self.disturbances += other.disturbances
        self.faults += other.faults
        self.seconds += other.seconds
        self.starts += other.starts


def carry_out(steps: Iterable[Step], federation: Federation) -> ChaosOutcome:
    """Do what is planned, let the federation go on in between, and bring the run to its end."""
    outcome, began = (
        ChaosOutcome(faults=federation.faults, acknowledged=federation.acknowledged),
        time.monotonic(),
    )
    federation.go_on()
    for number, step in enumerate(steps, start=1):
        federation.doing = _name(step)
        since = time.monotonic()
        try:
            _take(step, federation, outcome)
        except Exception as error:  # reported as a fault; the other steps are carried out
            federation.fault(f"{type(error).__name__}: {error}")
            federation.recover()
            federation.go_on()
        sys.stdout.write(
            f"{federation.leg.federation} {number}: {federation.doing}, "
            f"{time.monotonic() - since:.1f} s, {federation.rounds_told} rounds\n"
        )
        sys.stdout.flush()
    federation.doing = "the end"
    federation.undo()
    federation.go_on()
    _finish(federation)
    outcome.seconds, outcome.starts = time.monotonic() - began, federation.starts
    return outcome


def _take(step: Step, federation: Federation, outcome: ChaosOutcome) -> None:
    if isinstance(step, Kill):
        phase = _kill(step, federation)
        outcome.phases[step.victim][phase] += 1
        federation.doing += f" while {phase}"
    elif not step.kind.is_possible(federation):
        federation.doing += " is not possible here"
        return
    else:
        outcome.disturbances[step.kind.name] += 1
        for _ in step.kind.inflict(federation, random.Random(step.seed)):
            federation.go_on()
    federation.go_on()


def _name(step: Step) -> str:
    return step.kind.name if isinstance(step, Disturbance) else f"{step.victim} killed"


def _kill(kill: Kill, federation: Federation) -> str:
    federation.rest(kill.delay_seconds)
    coordinator = federation.coordinator
    if kill.victim == "broker":
        phase = coordinator.note.phase
        federation.broker.kill()
        federation.rest(kill.pause_seconds)
        federation.broker.resume()
        return phase
    is_coordinator = kill.victim == "coordinator"
    victim = coordinator if is_coordinator else federation.dice.choice(federation.participants)
    if kill.aim is not None:
        _await_end(federation, victim, kill.aim, kill.aim_seconds)
    phase = federation.kill(victim)
    federation.rest(kill.pause_seconds)
    federation.start(victim)
    return phase


def _await_end(federation: Federation, victim: Service, phase: str, seconds: float) -> None:
    federation.expect_end(victim)
    victim.note.aim = (phase, seconds, "die")
    with suppress(HangError):
        federation.until(lambda: federation.services.has_ended(victim), phase, seconds=AIM_SECONDS)


def _finish(federation: Federation) -> None:
    """Let the coordinator go on to a last round, and everybody end in an orderly way."""
    coordinator = federation.coordinator
    federation.expect_end(coordinator)
    federation.services.terminate(coordinator)
    federation.wait_end(coordinator)
    newest = max(
        event["round"]
        for name in ("coordinator", "standby")
        for event in federation.told(name).events()
        if event["event"] == "round_closed"
    )
    rounds = newest + LAST_ROUNDS
    coordinator.arguments = federation.leg.coordinator(
        federation.out, mode="buffered", rounds=rounds
    )
    federation.services.start(coordinator)
    code = federation.wait_end(coordinator)
    if code:
        federation.fault(f"the coordinator ended with {code}")
    for participant in federation.participants:
        federation.expect_end(participant)
        federation.services.terminate(participant)
    for participant in federation.participants:
        code = federation.wait_end(participant)
        # One that was killed last may still be starting, and has nothing to finish.
        if code not in (0, -signal.SIGTERM):
            federation.fault(f"{participant.name} ended with {code}")

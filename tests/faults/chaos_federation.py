"""The federation of a chaos run: its active coordinator, its progress, and what ends later."""

import os
import random
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from chaos_disks import Disk
from chaos_legs import MODES, Leg
from chaos_management import ManagementClient
from chaos_names import Name
from nodes import BrokerNode
from services import HangError, Service, Services
from told import Told

from fanfold.schemas.names import FederationNames

HANG_SECONDS = 240.0
"""No wait takes so long unless something hangs: pauses last 40 s, and machines are shared."""
MOST_FAULTS = 40
"""More of them would say nothing new, so the run ends."""


class Federation:
    """One active coordinator, participants, their broker and their disks.

    A process that ends without being asked to is recorded as a fault and started again.
    """

    def __init__(
        self,
        leg: Leg,
        *,
        services: Services,
        broker: BrokerNode,
        folder: Path,
        disks: tuple[Disk, Disk],
        seed: int,
    ) -> None:
        self.leg = leg
        self.names = FederationNames(leg.federation)
        self.services = services
        self.broker = broker
        self.management = ManagementClient(broker, self.rest)
        self.folder = folder
        self.dice = random.Random(f"{leg.federation} of {seed}")
        self.out_disk, self.state_disk = disks
        self.faults: list[str] = []
        self.acknowledged: set[Name] = set()
        """Updates that were acknowledged before a checkpoint was damaged."""
        self.doing = "start"
        self.starts = 0
        self._told: dict[str, Told] = {}
        self._watched: set[str] = set()
        self._known: dict[str, Service] = {}
        self._later: list[tuple[float, Callable[[], None]]] = []
        self.participants = [
            self.add(f"participant-{index}", leg.participant(index, self.state_disk.folder))
            for index in range(leg.participants)
        ]
        self.coordinator = self.add("coordinator", self._coordinator_arguments())

    def close(self) -> None:
        """Let all processes go on and end, and then unmount the disks."""
        self.undo()

    @property
    def out(self) -> Path:
        return self.out_disk.folder / "run"

    def state_of(self, participant: Service) -> Path:
        return self.state_disk.folder / participant.name

    def _coordinator_arguments(self) -> list[str]:
        self.starts += 1
        return self.leg.coordinator(self.out, mode=self.dice.choice(MODES))

    # -- services

    def add(self, name: str, arguments: list[str]) -> Service:
        service = self.services.add(name, *arguments)
        self._known[name] = service
        self._watched.add(name)
        return service

    def stand_by(self) -> Service:
        """Start a second coordinator on the same folder, and wait until it stands by."""
        name = "standby" if self.coordinator.name == "coordinator" else "coordinator"
        before = self.told(name).count("standing_by")
        if name in self._known:
            self.start(self._known[name])
        else:
            self.add(name, self._coordinator_arguments())
        self.until(lambda: self.told(name).count("standing_by") > before, f"{name} standing by")
        return self._known[name]

    def start(self, service: Service) -> None:
        """Start a service that was ended; a coordinator goes on in a mode that is drawn."""
        if service.arguments[0] == "coordinator":
            service.arguments = self._coordinator_arguments()
        self.services.start(service)
        self.watch(service)

    def watch(self, service: Service) -> None:
        """Count the end of a service as a fault from now on."""
        self._watched.add(service.name)

    def expect_end(self, service: Service) -> None:
        """Do not count the end of a service as a fault from now on."""
        self._watched.discard(service.name)

    def kill(self, service: Service) -> str:
        """Kill -9, and return the phase it was in."""
        self.expect_end(service)
        return self.services.kill(service)

    @contextmanager
    def dead(self, service: Service) -> Iterator[None]:
        """Kill -9, and start again at the end."""
        self.kill(service)
        yield
        self.start(service)

    def wait_end(self, service: Service) -> int:
        """Wait until a service has ended, and return its exit code."""
        self.until(lambda: self.services.has_ended(service), f"the end of {service.name}")
        return self.services.wait(service)

    def pause(self, service: Service, seconds: float) -> None:
        """Stop a process with SIGSTOP, and continue it after so many seconds in any case."""
        pid = service.pid
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)

        def go_on() -> None:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

        self.later(seconds, go_on)

    def log(self, service: Service) -> str:
        """Return the end of a service's log."""
        return (self.folder / f"{service.name}.log").read_text(errors="replace")[-3000:]

    # -- events

    def told(self, name: str) -> Told:
        return self._told.setdefault(name, Told(self.folder / f"{name}.events"))

    @property
    def rounds_told(self) -> int:
        """How many rounds all coordinators have reported."""
        return sum(self.told(name).count("round_closed") for name in ("coordinator", "standby"))

    def tells(self, service: Service, event: str) -> Callable[[], bool]:
        """Return a function that says whether this service has printed such an event since now."""
        told = self.told(service.name)
        before = told.count(event)
        return lambda: told.count(event) > before

    def takes_over(self, service: Service) -> Callable[[], bool]:
        """Return a function that says whether this coordinator has taken over since now."""
        return self.tells(service, "run_started")

    # -- time

    def later(self, seconds: float, action: Callable[[], None]) -> None:
        """Do something after so many seconds of the waits that follow."""
        self._later.append((time.monotonic() + seconds, action))

    def undo(self) -> None:
        """Do now what was to be done later."""
        for _, action in self._later:
            action()
        self._later.clear()

    def until(
        self, condition: Callable[[], object], what: str, *, seconds: float = HANG_SECONDS
    ) -> None:
        """Wait for a condition, while delayed actions are carried out."""
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                raise HangError(f"{what} did not come within {seconds:g} s")
            self.tick()
            time.sleep(0.02)

    def rest(self, seconds: float) -> None:
        """Wait for so many seconds."""
        ends = time.monotonic() + seconds
        self.until(lambda: time.monotonic() >= ends, "the end of a pause")

    def go_on(self, rounds: int = 1) -> None:
        """Wait until further rounds have closed."""
        wanted = self.rounds_told + rounds
        self.until(lambda: self.rounds_told >= wanted, f"{rounds} more rounds")

    def tick(self) -> None:
        now = time.monotonic()
        due = [entry for entry in self._later if entry[0] <= now]
        self._later = [entry for entry in self._later if entry[0] > now]
        for _, action in due:
            action()
        for name in sorted(self._watched):
            service = self._known[name]
            if self.services.has_ended(service):
                code = self.services.wait(service)
                last = self.log(service).strip().splitlines()[-1:]
                self.fault(f"{name} ended with {code}: {' '.join(last)[-300:]}")
                self.start(service)

    def fault(self, what: str) -> None:
        """Record something that must not happen."""
        self.faults.append(f"{self.doing}: {what}")
        sys.stdout.write(f"FAULT {self.faults[-1]}\n")
        sys.stdout.flush()
        if len(self.faults) > MOST_FAULTS:
            raise RuntimeError("\n".join(self.faults))

    def recover(self) -> None:
        """After a fault, undo all disturbances and restart all services."""
        self.undo()
        for service in (self.coordinator, *self.participants):
            self.kill(service)
            self.start(service)

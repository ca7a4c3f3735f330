"""One federation of processes, its events and its files."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from services import Service, Services, until

from fanfold.coordinator.persistence.history import read_history

TASK = "--task=padded_task:LinearDigits"
SHORT = ("--rounds=3", "--steps=2", "--threads=1", "--evaluate-every=100", "--chunk-bytes=4096")


class Run:
    """One federation on one broker; its files are in `out`."""

    def __init__(self, services: Services, folder: Path, federation: str) -> None:
        self.services = services
        self.folder = folder
        self.federation = federation
        self.out = folder / f"run-{federation}"

    def coordinate(self, *flags: str, trouble: str = "", name: str = "coordinator") -> Service:
        """Start a coordinator of three rounds, unless the flags say otherwise."""
        return self.services.add(
            name,
            "coordinator",
            "--json",
            TASK,
            f"--federation={self.federation}",
            *unless_given((f"--out={self.out}", *SHORT), flags),
            *flags,
            trouble=trouble,
        )

    def take_part(self, index: int, *flags: str, of: int = 2, **environment: str) -> Service:
        """Start participant `index` of two, or of as many as said."""
        return self.services.add(
            f"participant-{index}",
            "participant",
            "--json",
            TASK,
            f"--federation={self.federation}",
            f"--id=participant-{index}",
            f"--partition-index={index}",
            f"--num-partitions={of}",
            *unless_given(("--progress-seconds=0.5", "--chunk-bytes=4096"), flags),
            *flags,
            **environment,
        )

    def told(self, name: str, event: str) -> list[dict[str, Any]]:
        """Return a service's events of one kind, over all its starts."""
        return [each for each in self.services.events(name) if each["event"] == event]

    def await_event(self, name: str, event: str, **fields: Any) -> dict[str, Any]:
        """Wait until a service prints an event with these fields, and return it."""

        def found() -> list[dict[str, Any]]:
            return [each for each in self.told(name, event) if fields.items() <= each.items()]

        until(found, f"{event} {fields} from {name}")
        return found()[0]

    def finish(self, coordinator: Service) -> str:
        """Wait for the end of the run and return the hash of its parameters."""
        code = self.services.wait(coordinator)
        assert code == 0, (self.folder / f"{coordinator.name}.log").read_text()[-2000:]
        return str(self.told(coordinator.name, "run_finished")[-1]["parameters_sha256"])

    def updates(self) -> list[tuple[str, int]]:
        """Return the updates that were counted, as (participant, base version)."""
        names = [
            (update["participant"], update["base_version"])
            for record in read_history(self.out / "history.jsonl")
            if record["event"] == "round"
            for update in record["updates"]
        ]
        assert len(set(names)) == len(names)
        return names


def unless_given(defaults: Sequence[str], flags: Sequence[str]) -> list[str]:
    """Return the defaults but those of options that are given: each option takes one value."""
    given = {flag.partition("=")[0] for flag in flags}
    return [each for each in defaults if each.partition("=")[0] not in given]

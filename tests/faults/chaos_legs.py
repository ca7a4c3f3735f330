"""The federations of a chaos run: one that can be trained again, one with top-k, one sealed."""

from dataclasses import dataclass, replace
from pathlib import Path

from fanfold.sealing.identity import PUBLIC_FILE, Identity
from fanfold.sealing.roster import changing

PARTICIPANTS = 4
ROUNDS_WITHOUT_END = 1_000_000
MODES = ("buffered", "buffered", "sync", "async")
"""The starts of a coordinator differ in their mode; every draw is one of these."""
GOALS = {"buffered": "3", "sync": "all", "async": "1"}


@dataclass(frozen=True, slots=True)
class Leg:
    """One federation and the settings of its services."""

    federation: str
    task: str
    encoding: str
    seed: int
    everybody_keeps: bool
    """Whether all participants have a folder for their state, or every second one."""
    participants: int = PARTICIPANTS
    keys: Path | None = None
    """Folder of everybody's keys, where the federation seals its messages."""

    def make_keys(self) -> None:
        """Make the keys of a federation that seals its messages, and its roster."""
        if self.keys is None:
            return
        Identity.generate().write(self.keys / "coordinator")
        for index in range(self.participants):
            identity, name = Identity.generate(), f"participant-{index}"
            identity.write(self.keys / name)
            with changing(self.keys / "coordinator") as held:
                held[0] = held[0].enroll(name, identity.public)

    def _identity(self, name: str) -> list[str]:
        if self.keys is None:
            return []
        pinned = f"--coordinator-identity={self.keys / 'coordinator' / PUBLIC_FILE}"
        return [f"--identity={self.keys / name}", *([] if name == "coordinator" else [pinned])]

    def coordinator(self, out: Path, *, mode: str, rounds: int = ROUNDS_WITHOUT_END) -> list[str]:
        """Return a coordinator's command line."""
        return [
            "coordinator",
            "--json",
            f"--federation={self.federation}",
            f"--task={self.task}",
            f"--out={out}",
            f"--rounds={rounds}",
            f"--seed={self.seed}",
            f"--mode={mode}",
            f"--goal={GOALS[mode]}",
            f"--encoding={self.encoding}",
            "--server-optimizer=sgd:lr=1,momentum=0.5",
            f"--min-participants={self.participants}",
            "--deadline-seconds=5",
            "--commit-seconds=0.2",
            "--commit-updates=2",
            "--chunk-bytes=4096",
            "--steps=3",
            "--threads=1",
            "--evaluate-every=10",
            "--heartbeat-seconds=10",
            "--connect-seconds=60",
            "--reconnect-seconds=5",
            *self._identity("coordinator"),
        ]

    def participant(self, index: int, states: Path) -> list[str]:
        """Return a participant's command line."""
        name = f"participant-{index}"
        keeps = self.everybody_keeps or index % 2
        return [
            "participant",
            "--json",
            f"--federation={self.federation}",
            f"--id={name}",
            f"--task={self.task}",
            f"--partition-index={index}",
            f"--num-partitions={self.participants}",
            f"--seed={self.seed}",
            "--progress-seconds=1",
            "--chunk-bytes=4096",
            "--heartbeat-seconds=10",
            "--connect-seconds=60",
            "--reconnect-seconds=5",
            *([f"--state-dir={states / name}"] if keeps else []),
            *self._identity(name),
        ]

    def keeps_state(self, index: int) -> bool:
        """Whether a participant has a folder for its state."""
        return self.everybody_keeps or bool(index % 2)


def legs(seed: int, folder: Path) -> tuple[Leg, Leg, Leg]:
    """Return all of them.

    Args:
        seed: of the run.
        folder: where each has a folder of its name, for the keys.
    """
    plain = Leg("chaos", "padded_task:LinearDigits", "float32", seed, everybody_keeps=False)
    top_k = Leg("top-k", "padded_task:PersonalDigits", "topk:0.1", seed, everybody_keeps=True)
    sealed = replace(plain, federation="sealed", keys=folder / "sealed" / "keys")
    return plain, top_k, sealed

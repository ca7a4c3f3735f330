"""Which runs a participant's owner allows: those of a task, or of exactly one code of it."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Self

from fanfold.schemas.errors import InvalidInputError
from fanfold.schemas.run_messages import OpenRun

_GRAMMAR = re.compile(r"(?P<task>[^@\s]+)(?:@sha256:(?P<sha256>[0-9a-f]{64}))?")
SHOWN = 12
"""Digits of a hash in a sentence."""


@dataclass(frozen=True, slots=True)
class Allowed:
    """One `--allow`: a task, and the one hash that its source may have, or None for any."""

    task: str
    sha256: str | None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return what an option says.

        Raises:
            InvalidInputError: if it is neither TASK nor TASK@sha256:HASH.
        """
        match = _GRAMMAR.fullmatch(text)
        if match is None:
            raise InvalidInputError(
                f"--allow {text} is neither TASK nor TASK@sha256:HASH with 64 lower-case hex "
                "digits; `fanfold check --task TASK` prints the hash"
            )
        return cls(match["task"], match["sha256"])


class Allowance:
    """Judges runs. Nothing of a task is imported before its run is allowed.

    Args:
        allowed: what the owner allows.
        hash_of: returns the hash of a task's source as it is on this machine, or raises a
            `ValueError` in words for people.
    """

    def __init__(self, allowed: Sequence[Allowed], hash_of: Callable[[str], str]) -> None:
        self._allowed = allowed
        self._hash_of = hash_of
        self._loaded: dict[str, str] = {}
        """The hash that each task had when this process loaded it."""

    def refusal(self, run: OpenRun) -> str | None:
        """Say why this participant takes no part in a run; None: it does."""
        task = run.task
        hashes = {each.sha256 for each in self._allowed if each.task == task}
        if not hashes:
            return f"the task {task} is not allowed here; its owner would have to --allow {task}"
        is_any = None in hashes
        if not is_any and run.task_sha256 not in hashes:
            return (
                f"the run's code of {task} has the hash {run.task_sha256[:SHOWN]}..., and what is "
                f"allowed here has {_listed(hashes)}"
            )
        try:
            own = self._hash_of(task)
        except ValueError as error:
            return str(error)
        if not is_any and own != run.task_sha256:
            return (
                f"the code of {task} on this machine has the hash {own[:SHOWN]}..., and the run's "
                f"has {run.task_sha256[:SHOWN]}..."
            )
        if self._loaded.get(task, own) != own:
            return (
                f"the code of {task} on this machine was changed after it was loaded; its owner "
                "has to start the participant again"
            )
        return None

    def load(self, run: OpenRun) -> bool:
        """Note that the code of an allowed run is loaded now; return whether it is the run's."""
        own = self._hash_of(run.task)
        self._loaded.setdefault(run.task, own)
        return own == run.task_sha256


def _listed(hashes: set[str | None]) -> str:
    return " or ".join(sorted(f"{each[:SHOWN]}..." for each in hashes if each is not None))

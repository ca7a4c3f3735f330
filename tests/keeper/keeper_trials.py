"""A federation with keepers, as plain objects: no broker, and nobody trains."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from fanfold.keeper.journal import FILE, Journal
from fanfold.keeper.rules import Answering, Rules
from fanfold.schemas.keeper_messages import MasksWanted, Member
from fanfold.sealing.identity import Identity
from fanfold.sealing.mask_seeds import in_order, seal_seeds
from fanfold.sealing.masks import Words, add_mask

WORDS = 300_000
"""More than one block of the generator."""
NAMES = ("ann", "bob", "cid", "dee", "eve")


def fail(error: OSError) -> None:
    raise error


def clock() -> datetime:
    return datetime(2026, 1, 1, tzinfo=UTC)


class Federation:
    """Five participants, one or three keepers, and updates of random integers."""

    def __init__(self, folder: Path, num_keepers: int) -> None:
        self.folder = folder
        made = [Identity.generate() for _ in range(num_keepers)]
        self.public = in_order(each.public for each in made)
        self.keepers = sorted(made, key=lambda each: self.public.index(each.public))
        self.owners = {name: Identity.generate() for name in NAMES}
        self.journals: list[Journal] = []
        self.sent: dict[tuple[str, int], tuple[Words, Words, Member]] = {}

    def update(self, who: str, version: int = 3, run: str = "r1") -> Member:
        """Return the seeds of an update; its words, clear and masked, are in `sent`."""
        clear = np.random.default_rng(NAMES.index(who)).integers(0, 2**32, WORDS, np.uint32)
        seeds, secrets = seal_seeds(
            self.public,
            self.owners[who],
            run=run,
            participant=who,
            base_version=version,
            words=WORDS,
        )
        masked = clear.copy()
        for secret in secrets:
            add_mask([masked], secret)
        member = Member(participant=who, base_version=version, seeds=seeds)
        self.sent[who, version] = (clear, masked, member)
        return member

    def keeper(self, place: int = 0, at_least: int = 3) -> Answering:
        """Start a keeper; the same folder again is the same keeper, started again."""
        members = {name: owner.public for name, owner in self.owners.items() if name != "eve"}
        rules = Rules(
            self.keepers[place],
            self.public,
            at_least=at_least,
            max_words=1 << 20,
            members=lambda: members,
        )
        journal = Journal(self.folder / str(place), clock, pause=fail)
        self.journals.append(journal)
        return Answering(rules, journal)

    def close(self) -> None:
        for journal in self.journals:
            journal.close()

    def refusals(self, place: int = 0) -> list[str]:
        """What the journal says was refused."""
        lines = (self.folder / str(place) / FILE).read_text().splitlines()
        records = [json.loads(line) for line in lines]
        return [each["reason"] for each in records if each["event"] == "refused"]


def wanted(
    members: Sequence[Member], seeds: Sequence[int] = (0,), run: str = "r1", **more: Any
) -> MasksWanted:
    return MasksWanted(
        run=run, version=3, words=WORDS, members=list(members), seeds=tuple(seeds), **more
    )


def clear_sum(made: Federation, names: Sequence[str]) -> Words:
    return np.sum([made.sent[name, 3][0] for name in names], axis=0, dtype=np.uint32)


def masked_sum(made: Federation, names: Sequence[str]) -> Words:
    return np.sum([made.sent[name, 3][1] for name in names], axis=0, dtype=np.uint32)

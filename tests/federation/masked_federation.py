"""A masked federation whose services live in threads of a test."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from fanfold.keeper.assembly import serve as serve_keeper
from fanfold.keeper.settings import KeeperSettings
from fanfold.runs.replay import replay
from fanfold.runs.settings import ReplaySettings
from fanfold.sealing.identity import PUBLIC_FILE, Identity
from fanfold.sealing.roster import changing
from fanfold.views.wall_clock import utc_now


class Masked:
    """A live federation with keys for two participants and some keepers.

    `hub` has the coordinator's keys, with which a run can be sealed too.
    """

    def __init__(self, live: Any, folder: Path, num_keepers: int) -> None:
        self.live, self.folder = live, folder
        self.task = "Tiny"
        self.hub = folder / "roster"
        Identity.generate().write(self.hub)
        self.keepers = [folder / f"keeper-{place}" for place in range(num_keepers)]
        self.masks = tuple(each / PUBLIC_FILE for each in self.keepers)
        for each in self.keepers:
            Identity.generate().write(each)
        for index in range(2):
            identity = Identity.generate()
            identity.write(folder / f"p{index}")
            with changing(self.hub) as held:
                held[0] = held[0].enroll(f"p{index}", identity.public)

    def coordinator(self, **options: Any) -> Any:
        given = {"rounds": 3, "min_participants": 2, "encoding": "fixed", "masks": self.masks}
        return self.live.coordinator(self.task, **(given | options))

    def participants(self, *, sealed: bool = False) -> list[Any]:
        return [self.participant(index, sealed=sealed) for index in range(2)]

    def participant(self, index: int, *, sealed: bool = False) -> Any:
        own = self.folder / f"p{index}"
        pinned = {"identity": own, "coordinator_identity": str(self.hub)} if sealed else {}
        masking = {"masks": self.masks, "mask_identity": own} if self.masks else {}
        return self.live.participant(self.task, index, 2, **masking, **pinned)

    def keeper(self, place: int = 0, **options: Any) -> Any:
        settings = KeeperSettings(
            federation=self.live.name,
            broker=(self.live.url,),
            identity=self.keepers[place],
            roster=self.hub,
            state_dir=self.keepers[place] / "state",
            peer=tuple(each for each in self.masks if each.parent != self.keepers[place]),
            reconnect_seconds=0.5,
            **options,
        )
        return self.live.start(partial(serve_keeper, wall_clock=utc_now), settings)

    def replayed(self) -> Any:
        settings = ReplaySettings(out=self.live.out, num_partitions=2)
        return replay(settings, say=lambda _event: None)


Make = Callable[[int], Masked]
"""Returns a federation with so many keepers."""

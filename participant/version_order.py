"""Which of two versions is newer, across coordinators and runs.

Within a run, newer means a larger (epoch, version). Another run is newer than the one that is held,
because a queue keeps its order; a past run is newer only with a later epoch than before.
"""

from fanfold.participant.version import Place, Version
from fanfold.schemas.events.event import Event
from fanfold.schemas.events.participant import VersionIgnored, VersionOfOlderEpoch


class VersionOrder:
    """Remembers the runs that are past, and what people were told of last. Plain state."""

    def __init__(self) -> None:
        """Begin before any version."""
        self._past_runs: dict[str, int] = {}
        """The newest epoch seen of each run that another one followed."""
        self._told = ("", -1, -1)
        """The run, the epoch and the version that were last told to be ignored."""

    def is_newer(self, run: str, place: Place, newest: Version | None) -> bool:
        """Whether a version is newer than the newest one so far; from now on it is that, then.

        Args:
            run: of the version.
            place: of the version, within that run.
            newest: None where there was none.
        """
        if newest is None:
            return True
        if run == newest.run:
            return place > newest.place
        if place[0] <= self._past_runs.get(run, -1):
            return False
        self._past_runs[newest.run] = newest.epoch
        return True

    def ignored(self, run: str, place: Place, newest: Version | None) -> Event | None:
        """Say once of a version that it is older; of a coordinator, that a later one was here."""
        epoch, number, _ = place
        if newest is None or self._told in {(run, epoch, number), (run, epoch, -1)}:
            return None
        known = newest.epoch if newest.run == run else self._past_runs.get(run, -1)
        if epoch < known:
            self._told = (run, epoch, -1)
            return VersionOfOlderEpoch(run, number, epoch, newest_epoch=known)
        self._told = (run, epoch, number)
        return VersionIgnored(
            run, number, epoch, held_version=newest.number, held_epoch=newest.epoch
        )

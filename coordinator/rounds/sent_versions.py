"""Which version each participant was sent last, and who has answered that and waits for another.

Where stale updates count, a version goes to those who wait for it and to nobody else: who still
trains on an older one is sent the newest when it answers. So each update costs one version, whose
staleness is that of one training, however many rounds close meanwhile.

The broker does not keep versions on its disk. When it was restarted, nobody has what was sent
before but those who say that they hold it.
"""

from collections.abc import Iterable
from collections.abc import Set as AbstractSet


class SentVersions:
    """Plain state, by participant. Whoever is unknown here waits."""

    def __init__(self) -> None:
        """Begin with nothing sent."""
        self._sent: dict[str, int] = {}
        """The newest version sent to each who has not answered it, or a newer one, yet."""
        self._done: dict[str, int] = {}
        """The newest version answered by each who waits."""
        self._behind: set[str] = set()
        """Who of them answered an older version than the current one, and can go on at once."""
        self._were_lost = False
        """Whether the broker lost what was in its queues, and not everybody was sent it again."""
        self._sent_since: set[str] = set()
        """Who was sent a version after that loss."""

    def lost(self) -> None:
        """Note that nothing sent before lies in a queue any more: the broker was restarted."""
        self._were_lost = True
        self._sent_since.clear()

    def sent_to_all(self) -> None:
        """Note that everybody is sent the current version, also those who are away."""
        self._were_lost = False
        self._sent_since.clear()

    def may_lack(self, participant: str) -> bool:
        """Whether what this one was sent last was lost, unless it had taken it before."""
        return self._were_lost and participant not in self._sent_since

    def sent(self, participants: Iterable[str], version: int) -> None:
        """Note that a version is on its way to these."""
        for participant in participants:
            self._sent[participant] = version
            if self._were_lost:
                self._sent_since.add(participant)
            self._done.pop(participant, None)
            self._behind.discard(participant)

    def taken_back(self, participants: Iterable[str]) -> None:
        """Note that it is not: these wait, or answered the one that they were sent before."""
        for participant in participants:
            self._sent.pop(participant, None)
            self._sent_since.discard(participant)

    def answered(self, participant: str, version: int, *, current: int) -> None:
        """Note that a participant is done with a version: it answered that, or waits with it.

        Where a newer one was sent to it meanwhile, that lies in its queue: it goes on by itself.
        """
        if version < self._sent.get(participant, -1):
            return
        self._sent.pop(participant, None)
        self._done[participant] = version
        if version < current:
            self._behind.add(participant)

    def forget(self, participants: Iterable[str]) -> None:
        """Know nothing of these any more: they are gone."""
        for participant in participants:
            self._sent.pop(participant, None)
            self._done.pop(participant, None)
            self._behind.discard(participant)
            self._sent_since.discard(participant)

    @property
    def behind(self) -> frozenset[str]:
        """Who waits although there is a newer version than the one it answered."""
        return frozenset(self._behind)

    def receivers(
        self, present: AbstractSet[str], reachable: AbstractSet[str]
    ) -> frozenset[str] | None:
        """Return who is to be sent the next version, or None for everybody.

        Args:
            present: who takes part. Those of them that are at work get it when they answer.
            reachable: who has a queue. Those of them that are not present find it there when they
                come back.
        """
        at_work = self._sent.keys() & present
        if not at_work:
            return None
        return frozenset((present | reachable | self._done.keys()) - at_work)

"""What the coordinator sends: versions, and small messages; in a thread of its own."""

from collections import Counter
from collections.abc import Callable, Iterable
from collections.abc import Set as AbstractSet
from functools import partial
from itertools import chain, islice

import structlog

from fanfold.coordinator.broker.channel import CoordinatorChannel
from fanfold.coordinator.broker.dead_letters import DeadLetters
from fanfold.coordinator.broker.encoded_version import EncodedVersion
from fanfold.coordinator.broker.sending import Sending, Sent
from fanfold.coordinator.broker.sending_thread import SendingThread
from fanfold.coordinator.persistence.run_store import RunStore
from fanfold.coordinator.rounds.sent_versions import SentVersions
from fanfold.schemas.border import IN_CLEAR, CoordinatorsBorder
from fanfold.schemas.chunking import cut
from fanfold.schemas.errors import (
    NOT_FOUND,
    QueueFullError,
    RefusedByBrokerError,
    UnroutableError,
)
from fanfold.schemas.message_codec import encode
from fanfold.schemas.messages import Message, RunFinished
from fanfold.schemas.names import keeper_key
from fanfold.transport import Delivery

MAX_WELCOMES = 3
"""Who starts again and again gets the current version so many times; a deadline gives it anew."""
MOST_TOGETHER = 256
"""So many get a version with one message: their names stand in its header, which is one frame."""

log = structlog.get_logger()


class Publisher:
    """Begins to send versions and messages, which never mix, and remembers who was sent what.

    All methods belong to the coordinator's work thread; what is sent goes out in another.
    """

    def __init__(
        self,
        *,
        channel: CoordinatorChannel,
        store: RunStore,
        deliver: Callable[[Sent], None],
        versions: SentVersions,
        border: CoordinatorsBorder = IN_CLEAR,
    ) -> None:
        """Send nothing yet; `deliver` takes each `Sent`, from the publisher's thread."""
        self.border = border
        self._versions = versions
        self._channel = channel
        self._store = store
        self._encoded_version: EncodedVersion | None = None
        self._sample: frozenset[str] | None = None
        self._must_publish = False
        """Whether the current version still has to go out, because an exchange was gone."""
        self._thread = SendingThread(deliver)
        self._letters = DeadLetters(channel, store, self._thread, is_sealed=border.is_sealed)
        self._resends: dict[tuple[str, ...], tuple[Callable[[], bool], int]] = {}
        """To which of them, group by group, a version is on its way; how to take it back; bytes."""
        self._welcomed: Counter[str] = Counter()
        """How often a hello was answered with the version, since all were sent it."""
        self.bytes_down = 0
        """Bytes sent since the current version was published, to everybody it was sent to."""

    def publish(
        self,
        encoded_version: EncodedVersion,
        *,
        sample: frozenset[str] | None = None,
        to: frozenset[str] | None = None,
        holders: frozenset[str] = frozenset(),
    ) -> None:
        """Begin to send a version; `is_idle` says when it is out.

        Args:
            encoded_version: from now on the one that is sent again.
            sample: who is to have it, and nobody else; None for everybody.
            to: who is to have it now, and others when they ask; None for everybody, too.
            holders: who is sent its difference: they hold the version before.
        """
        self._encoded_version, self._sample = encoded_version, sample
        self.bytes_down = 0
        self._welcomed.clear()
        self._send_difference(sorted(holders))
        if to is None:
            self._publish()
        else:
            self.send_again(sorted(to))

    def withdraw(self) -> None:
        """Send the current version to nobody any more: its tensors are about to change."""
        assert self.is_idle  # else a version of two halves would be on its way
        self._encoded_version = None

    def take_bytes_down(self) -> int:
        """Return the bytes that were sent since this was last asked, or the last publication."""
        sent, self.bytes_down = self.bytes_down, 0
        return sent

    @property
    def is_idle(self) -> bool:
        """Whether all is out that a round waits for, and the current version's tensors may change.

        Answers and dead letters view no tensors, and one sender could have them sent without end.
        """
        return not self._thread.num_awaited and not self._must_publish

    @property
    def reachable(self) -> AbstractSet[str]:
        """Whose queue was seen to, and not forgotten since."""
        return self._channel.participants.known

    def sent(self, event: Sent) -> bool:
        """Take note of what was sent, or what became of it instead.

        Returns:
            False if something that we declared is gone: then everything is to be declared anew.

        Raises:
            TransportError: what the broker refuses for good.
        """
        sending = event.sending
        self._thread.ended(sending)
        self._resends.pop(sending.to, None)
        if sending.letter is not None:
            self._letters.sent(sending.letter, event.error)
            return True
        match event.error:
            case None:
                pass
            case UnroutableError() if sending.to:
                self._channel.participants.forget(sending.to)
            case QueueFullError() as refusal:  # an operator's policy; the deadline tries again
                log.warning("a queue takes no more", reason=str(refusal))
            case RefusedByBrokerError(code=code) if code != NOT_FOUND:
                raise event.error
            case UnroutableError() | RefusedByBrokerError() as refusal:
                log.warning("declaring everything anew", reason=str(refusal))
                self._must_publish |= sending.encoded_version is self._encoded_version is not None
                return False
            case error:
                raise error
        return True

    def widen(self, more: frozenset[str]) -> None:
        """Let these get the current version too, when it is sent again."""
        if self._sample is not None:
            self._sample |= more

    def send_again(self, participants: Iterable[str]) -> None:
        """Begin to send the current version to some only, if they were to get it.

        All of them get it with one message, or with a few.
        """
        if self._encoded_version is not None:
            self._send(participants, self._encoded_version)

    def _send_difference(self, participants: Iterable[str]) -> None:
        """Begin to send what changed, where that is known, to who holds the version before."""
        if (version := self._encoded_version) is not None and version.difference is not None:
            self._send(participants, version.difference)

    def _send(self, participants: Iterable[str], form: EncodedVersion) -> None:
        """Begin to send the current version to some, whole or as a difference."""
        sample, under_way = self._sample, set(chain.from_iterable(self._resends))
        asked = (each for each in participants if sample is None or each in sample)
        wanted = (each for each in asked if each not in under_way)
        persistent = self._channel.keeps_versions
        for group in iter(lambda: tuple(islice(wanted, MOST_TOGETHER)), ()):
            send = partial(self._channel.resend, group, form.chunks, persistent=persistent)
            take_back = self._thread.submit(send, Sending(self._encoded_version, group))
            self._resends[group] = take_back, form.num_bytes * len(group)
            self._versions.sent(group, form.version)
            self.bytes_down += form.num_bytes * len(group)

    def send_to_who_waits(self, holds_base: Callable[[str], bool]) -> None:
        """Send the current version to those who answered an older one meanwhile.

        Those who answer while something is on its way are sent it together, after that.
        """
        behind = self._versions.behind
        if behind and self.is_idle:
            self._send_difference(sorted(filter(holds_base, behind)))
            self.send_again(sorted(behind))  # but for whom the difference is on its way

    def remind(self, participants: Iterable[str]) -> None:
        """Send these the current version again, however often they were welcomed with it."""
        self._welcomed.clear()
        self.send_again(participants)

    def take_back(self) -> None:
        """Take back the versions that have not begun to go to some: the round closes without."""
        for group, (take_back, num_bytes) in list(self._resends.items()):
            if take_back():
                del self._resends[group]
                self._versions.taken_back(group)
                self.bytes_down -= num_bytes

    def send_to_newcomer(self, participant: str) -> None:
        """Send the current version to one whose queue nothing can be in.

        Who empties its queue again and again waits for the next version, or for the deadline.
        """
        if self._welcomed[participant] < MAX_WELCOMES:
            self._welcomed[participant] += 1
            self.send_again([participant])

    def announce(self, message: Message, *, to: str | None = None) -> None:
        """Begin to send a small message to everybody, or to one."""
        chunks = self.border.seal(encode(message), epoch=self._store.epoch, to=to)
        if not chunks:
            log.warning("not told, for it is not on the roster", participant=to)
        elif to is None:
            self._thread.submit(partial(self._channel.publish, chunks), Sending())
        else:
            self._thread.submit(partial(self._channel.resend, (to,), chunks), Sending(to=(to,)))

    def ask_keeper(self, keeper: str, request: Message) -> None:
        """Begin to send a request to a keeper: its secrets are sealed for that keeper already."""
        key = keeper_key(keeper)
        chunks = cut(encode(request))
        self._thread.submit(partial(self._channel.resend, (key,), chunks), Sending(to=(key,)))

    def finish(self, finished: RunFinished, final: EncodedVersion | None = None) -> None:
        """Begin to send the last model, if there is one to send, and then that the run is over.

        The latter is kept for who looks later, too.
        """
        if final is not None:
            self._thread.submit(partial(self._channel.publish, final.chunks), Sending(final))
        chunks = self.border.seal(encode(finished), epoch=self._store.epoch)
        for send in (self._channel.publish, self._channel.keep_outcome):
            self._thread.submit(partial(send, chunks), Sending())

    def versions_were_lost(self) -> None:
        """Take note that the broker was restarted: what it had not on its disk is gone.

        Who says that it holds an older version is sent the current one again.
        """
        if self._encoded_version is not None:
            log.info("the broker was restarted: who lacks the version is sent it again")
        self._versions.lost()
        self._welcomed.clear()
        self._thread.submit(self._channel.uptime.mark, Sending())

    def replace_lost(self, participant: str) -> None:
        """Send the current version to one that does not hold it, if what it was sent was lost."""
        if self._versions.may_lack(participant):
            self.send_to_newcomer(participant)

    def dead_letter(self, delivery: Delivery, reason: str) -> None:
        """Begin to put a malformed message aside."""
        self._letters.put_aside(delivery, reason)

    def publish_if_due(self) -> None:
        """Publish the current version if what it goes through had been gone."""
        if self._must_publish:
            self._publish()

    def close(self) -> None:
        """Drop what waits to be sent; what is being sent ends with its connection."""
        self._thread.close()

    def _publish(self) -> None:
        encoded_version = self._encoded_version
        assert encoded_version is not None  # set before
        self._must_publish = False
        if self._sample is None:
            persistent, known = self._channel.keeps_versions, self.reachable
            send = partial(self._channel.publish, encoded_version.chunks, persistent=persistent)
            self._thread.submit(send, Sending(encoded_version))
            self._versions.sent_to_all()
            self._versions.sent(known, encoded_version.version)
            self.bytes_down += encoded_version.num_bytes * len(known)
        else:
            self.send_again(sorted(self._sample))

"""Messages without tensors that a participant gets: a run is over, an update was refused."""

from fanfold.schemas.border import Border
from fanfold.schemas.chunking import Assembly, ChunkHeader
from fanfold.schemas.messages import Message
from fanfold.schemas.reader_limits import ReaderLimits
from fanfold.schemas.seal import Seal


class NoteReader:
    """Reads them, and obeys none a second time where the coordinator numbers and signs them.

    Args:
        limits: nothing larger is taken.
        border: what opens them, once they are believed.
    """

    def __init__(self, limits: ReaderLimits, border: Border) -> None:
        self._limits = limits
        self._border = border
        self._last: dict[str, tuple[int, int]] = {}
        """Of each run, the epoch and serial of the last signed one."""

    def read(self, header: ChunkHeader, body: bytes, *, least_epoch: int) -> Message | None:
        """Return the message in a chunk; None if it is one of several, or is not obeyed any more.

        Args:
            header: of a message that is believed.
            body: of the chunk.
            least_epoch: of the newest version of that run: a signed message is not older.

        Raises:
            MalformedMessageError: if it is no such message.
        """
        assembly = Assembly(header, self._limits)
        if not assembly.add(header, body):
            return None
        if header.seal is not None and not self._is_new(header, header.seal, least_epoch):
            return None
        assembly.unseal(self._border.opener(header))
        return assembly.decode().message

    def _is_new(self, header: ChunkHeader, seal: Seal, least_epoch: int) -> bool:
        run, order = header.labels.run or "", (header.epoch or 0, seal.serial)
        if order[0] < least_epoch or order <= self._last.get(run, (-1, -1)):
            return False
        self._last[run] = order
        return True

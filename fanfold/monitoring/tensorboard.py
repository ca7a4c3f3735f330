"""A run's curves as a TensorBoard event file, with tensorboardX's messages and checksum.

The file is written here, in the caller's thread. tensorboardX's `SummaryWriter` writes in a thread
that ends with the first error of the disk, after which its full queue blocks the caller for ever;
its `EventsWriter` waits for the disk with every point. A file is a sequence of records, each
`length (uint64) | checksum of the length | data | checksum of the data`, little endian.
"""

import os
import socket
import struct
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import structlog

from fanfold.monitoring.scalars import scalars_of
from fanfold.schemas.errors import InvalidInputError, how_to_install
from fanfold.schemas.events.coordinator import RoundClosed
from fanfold.schemas.events.event import Event

log = structlog.get_logger()


class EventFile:
    """One file in a folder that `tensorboard --logdir` shows. Use it as a context manager.

    If the disk fails later, points of the curves are lost, and the run goes on.

    Args:
        folder: the folder of the file. Every start of a coordinator begins another file, and
            TensorBoard joins them.

    Raises:
        InvalidInputError: if it cannot be written there, or tensorboardX is not installed.
    """

    def __init__(self, folder: Path) -> None:
        try:
            from tensorboardX.proto import event_pb2, summary_pb2  # noqa: PLC0415 - an extra
            from tensorboardX.record_writer import masked_crc32c  # noqa: PLC0415 - as above
        except ImportError:
            raise InvalidInputError(
                f"--tensorboard takes the tensorboardX package: {how_to_install('tensorboard')}"
            ) from None
        events: Any = event_pb2  # generated when they are imported, so that no type is known
        summaries: Any = summary_pb2
        self._event, self._summary = events.Event, summaries.Summary
        self._checksum = masked_crc32c
        name = f"events.out.tfevents.{int(time.time())}.{socket.gethostname()}.{os.getpid()}"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._file = (folder / name).open("ab")
            self._write(self._event(wall_time=time.time(), file_version="brain.Event:2"))
        except OSError as error:
            raise InvalidInputError(
                f"--tensorboard {folder} cannot be written to ({error.strerror}); "
                "choose another folder"
            ) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._file.close()
        except OSError as refusal:
            log.warning("the last points of --tensorboard are lost", reason=refusal.strerror)

    def hear(self, event: Event) -> None:
        """Write the numbers of a closed round; other events have no curve."""
        if not isinstance(event, RoundClosed):
            return
        self.add(event.round, scalars_of(event))

    def add(self, step: int, scalars: Mapping[str, float]) -> None:
        """Write one point of each curve."""
        values = [self._summary.Value(tag=tag, simple_value=x) for tag, x in scalars.items()]
        summary = self._summary(value=values)
        try:
            self._write(self._event(wall_time=time.time(), step=step, summary=summary))
        except OSError as error:  # the file's buffer keeps what did not fit, and writes it later
            log.warning("no room for a point of --tensorboard", round=step, reason=error.strerror)

    def _write(self, event: Any) -> None:
        data = event.SerializeToString()
        length = struct.pack("<Q", len(data))
        sums = (struct.pack("<I", self._checksum(part)) for part in (length, data))
        self._file.write(length + next(sums) + data + next(sums))
        self._file.flush()

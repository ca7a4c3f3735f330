"""What becomes of uploads whose acknowledged parts were damaged on our disk."""

from coordinator.books import Books
from coordinator.orders import Orders
from coordinator.reports import Say
from coordinator.spool import DamagedUpload
from coordinator.training_run import TrainingRun


class DamagedUploads:
    """Names them in the history, and asks for them again.

    Belongs to the coordinator's work thread.
    """

    def __init__(self, run: TrainingRun, *, books: Books, orders: Orders, say: Say) -> None:
        """Do nothing yet."""
        self._run = run
        self._books = books
        self._orders = orders
        self._say = say

    def tell(self, upload: DamagedUpload) -> None:
        """Take one.

        The same version sent again makes a participant send its kept update. Of an older version it
        has none: it answers the current one as ever, and what it sent is lost.
        """
        labels = upload.place.labels
        is_asked = labels.version == self._run.version
        fields = {
            "participant": labels.participant,
            "base_version": labels.version,
            "chunks": len(upload.missing),
            "is_asked_again": is_asked,
        }
        self._books.history.append(
            {
                "event": "upload_damaged",
                **fields,
                "chunks": list(upload.missing),
                "digest": upload.place.whole.digest,
            }
        )
        self._say("upload_damaged", fields)
        if is_asked and labels.participant is not None:
            self._orders.send_to_newcomer(labels.participant)  # a bounded number of times

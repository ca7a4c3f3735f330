"""What becomes of uploads whose acknowledged parts were damaged on our disk."""

from fanfold.coordinator.aggregation.run_state import RunState
from fanfold.coordinator.broker.publisher import Publisher
from fanfold.coordinator.persistence.run_store import RunStore
from fanfold.coordinator.persistence.spool import DamagedUpload
from fanfold.schemas.events.event import Say
from fanfold.schemas.events.run_folder import UploadDamaged


class DamagedUploads:
    """Names them in the history, and asks for them again.

    Belongs to the coordinator's work thread.
    """

    def __init__(self, run: RunState, *, store: RunStore, publisher: Publisher, say: Say) -> None:
        """Do nothing yet."""
        self._run = run
        self._store = store
        self._publisher = publisher
        self._say = say

    def tell(self, upload: DamagedUpload) -> None:
        """Take one.

        The same version sent again makes a participant send its kept update. Of an older version it
        has none: it answers the current one as ever, and what it sent is lost.
        """
        labels = upload.header.labels
        is_asked = labels.version == self._run.version
        damaged = UploadDamaged(
            participant=labels.participant,
            base_version=labels.version,
            chunks=len(upload.missing),
            is_asked_again=is_asked,
        )
        self._store.history.append(
            {
                **damaged.document(),
                "chunks": list(upload.missing),
                "digest": upload.header.whole.digest,
            }
        )
        self._say(damaged)
        if is_asked and labels.participant is not None:
            self._publisher.send_to_newcomer(labels.participant)  # a bounded number of times

"""The run that a region was in when its process ended."""

from pathlib import Path

from fanfold.coordinator.aggregation.state_parts import split
from fanfold.coordinator.persistence.checkpoint_store import CheckpointStore
from fanfold.coordinator.persistence.model_names import MODEL
from fanfold.region.sums import VersionFromAbove
from fanfold.schemas.messages import GlobalParameters


def left_open(out: Path) -> VersionFromAbove | None:
    """Return the version that the open round of the last run was of, from its checkpoint.

    The run above may be over by now, or wait for others, and send no version any more; those who
    take part below are to hear of it.

    Args:
        out: the region's folder, with one of each run.

    Returns:
        None if the last run is finished, or there was none.

    Raises:
        InvalidInputError: if the checkpoint cannot be read.
    """
    begun = {
        path.stat().st_mtime_ns: folder
        for folder in out.glob("*/")
        for path in CheckpointStore(folder).paths
    }
    if not begun or (begun[max(begun)] / MODEL).exists():
        return None
    checkpoint = CheckpointStore(begun[max(begun)]).read()
    if checkpoint is None:
        return None
    above = checkpoint.document["run"]["above"]
    if "kinds" not in above:  # a checkpoint of an older release has none
        return None
    parameters = split(checkpoint.tensors)["parameters"]
    return VersionFromAbove(
        GlobalParameters.model_validate(above["message"]),
        above["digest"],
        {
            name: parameters[name] for name in above["kinds"]
        },  # in their order: a digest depends on it
        above["kinds"],
        is_own=True,
    )

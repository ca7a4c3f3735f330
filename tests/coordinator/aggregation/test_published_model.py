"""Facts about the model that participants train on, where versions travel as differences."""

import torch
from torch import Tensor

from fanfold.coordinator.aggregation.aggregation_settings import MEAN
from fanfold.coordinator.aggregation.published_model import PublishedModel
from fanfold.coordinator.aggregation.run_state import RunState
from fanfold.schemas.chunking import cut
from fanfold.schemas.difference_message import GlobalDifference
from fanfold.schemas.messages import GlobalParameters, TrainingPlan
from fanfold.schemas.tensor_codec import encode_tensors
from tests.coordinator.aggregation.small_runs import new_run


def announced(version: int) -> GlobalParameters:
    return GlobalParameters(run="run", version=version, rounds=9, plan=TrainingPlan(), keep=True)


def published(run: RunState) -> PublishedModel:
    found = PublishedModel.wanted(run, "difference:int8")
    assert found is not None
    return found


def digest_of(model: PublishedModel, run: RunState) -> str:
    """Return the digest of the current version as it travels whole."""
    encoded = encode_tensors(announced(model.version), model.tensors, kinds=run.kinds)
    return cut(encoded)[0].header.content


def moved(run: RunState) -> dict[str, Tensor]:
    return {**run.tensors, "w": torch.linspace(-1, 1, 7)}


def test_a_difference_names_both_of_its_versions() -> None:
    """The first version has none: nobody holds another one."""
    run = new_run(MEAN)
    model = published(run)
    model.publish(announced(0), run.tensors)
    assert model.named("0" * 64) is None
    model.publish(announced(1), moved(run))
    difference = model.named("1" * 64)
    assert difference is not None
    assert isinstance(difference.message, GlobalDifference)
    assert (difference.message.base, difference.message.digest) == ("0" * 64, "1" * 64)


def test_a_version_keeps_its_digest_when_the_coordinator_is_started_again() -> None:
    """A checkpoint has its tensors in another order, and a digest is of bytes in theirs.

    With another digest everybody would train it again; under masks their sum would be another one.
    """
    run = new_run(MEAN)
    before = published(run)
    before.publish(announced(1), moved(run))
    digest = digest_of(before, run)
    after = published(run)
    after.restore(1, {name: before.tensors[name] for name in sorted(before.tensors)}, run)
    after.publish(announced(1), moved(run))
    assert digest_of(after, run) == digest
    assert after.named(digest) is None

"""Facts about what a participant remembers across a restart."""

import json
import os
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest
import torch
from torch import Tensor

from fanfold.participant.training_state import FILE, TrainingState, restore_private
from fanfold.participant.version import Version
from fanfold.schemas.errors import InvalidInputError
from fanfold.schemas.message_codec import Encoded
from fanfold.schemas.messages import Update, UpdateRefused
from fanfold.schemas.reader_limits import ReaderLimits
from fanfold.schemas.tensor_codec import encode_tensors

LIMITS = ReaderLimits(max_bytes=1 << 20)
BASE = "a" * 64


def encoded(value: float = 1.0, digest: str = BASE) -> Encoded:
    update = Update(
        run="run", participant="ann", base_version=3, base_digest=digest, num_examples=7
    )
    return encode_tensors(update, {"w": torch.full((5,), value)}, kinds={"w": "delta"})


def version(digest: str) -> Version:
    return Version("run", 1, 3, digest, 1, None)


def content(kept: Encoded | None) -> bytes:
    assert kept is not None
    return b"".join(bytes(buffer) for buffer in kept.buffers)


def keep(training_state: TrainingState, **private: Tensor) -> None:
    training_state.keep(encoded(), residual={"w": torch.ones(5)}, private=private)


def test_the_same_version_is_answered_with_the_kept_update(tmp_path: Path) -> None:
    """By digest, to the byte, in the next process too; another version is not."""
    first = TrainingState(tmp_path, LIMITS)
    assert first.answer_to(version(BASE)) is None
    keep(first)
    second = TrainingState(tmp_path, LIMITS)
    for training_state in (first, second):
        assert content(training_state.answer_to(version(BASE))) == content(encoded())
        assert training_state.answer_to(version("b" * 64)) is None


def test_private_tensors_and_the_residual_survive(tmp_path: Path) -> None:
    """They are part of what the next training starts from."""
    keep(TrainingState(tmp_path, LIMITS), head=torch.arange(6.0).reshape(2, 3).T)
    training_state = TrainingState(tmp_path, LIMITS)
    assert torch.equal(training_state.owed_to("run")["w"], torch.ones(5))
    assert not training_state.owed_to("another run")
    target = {"head": torch.zeros(3, 2), "other": torch.zeros(1)}
    restore_private(target, training_state.private)
    assert torch.equal(target["head"], torch.arange(6.0).reshape(2, 3).T)
    assert target["other"].item() == 0.0


def test_what_a_channels_last_network_owes_survives(tmp_path: Path) -> None:
    """Its memory is in another order than that of the file."""
    owed = torch.rand(2, 3, 4, 5).to(memory_format=torch.channels_last)
    kept = TrainingState(tmp_path, LIMITS)
    kept.keep(encoded(), residual={"w": owed}, private={})
    for life in (kept, TrainingState(tmp_path, LIMITS)):
        assert torch.equal(life.owed_to("run")["w"], owed)


def test_private_tensors_of_another_network_are_left_out() -> None:
    """A task that was changed begins anew with what no longer fits."""
    target = {"head": torch.zeros(2)}
    restore_private(target, {"head": torch.ones(3), "gone": torch.ones(1)})
    assert target["head"].tolist() == [0.0, 0.0]


def test_without_a_folder_everything_lives_in_memory() -> None:
    """The version is still never trained twice in one process."""
    training_state = TrainingState(None, LIMITS)
    keep(training_state)
    assert training_state.answer_to(version(BASE)) is not None
    assert TrainingState(None, LIMITS).answer_to(version(BASE)) is None


def test_a_file_of_a_release_with_sha256_is_read(tmp_path: Path) -> None:
    """Private tensors and residual are nowhere else; its update, of protocol 2, is left out."""
    keep(TrainingState(tmp_path, LIMITS), head=torch.ones(2))
    line, _, parts = (tmp_path / FILE).read_bytes().partition(b"\n")
    parts = parts.replace(b"\xa8protocol\x03", b"\xa8protocol\x02")
    head = json.loads(line)
    del head["blake3"]
    hashed = json.dumps([head["run"], *head["lengths"]]).encode() + parts
    line = json.dumps({**head, "sha256": sha256(hashed).hexdigest()}).encode()
    (tmp_path / FILE).write_bytes(line + b"\n" + parts)

    earlier = TrainingState(tmp_path, LIMITS)
    assert torch.equal(earlier.private["head"], torch.ones(2))
    assert torch.equal(earlier.owed_to("run")["w"], torch.ones(5))
    assert earlier.answer_to(version(BASE)) is None
    keep(earlier, head=torch.zeros(2))
    assert TrainingState(tmp_path, LIMITS).answer_to(version(BASE)) is not None

    (tmp_path / FILE).write_bytes(line + b"\n" + parts[:-1] + bytes([parts[-1] ^ 1]))
    with pytest.raises(InvalidInputError, match="its checksum is another"):
        TrainingState(tmp_path, LIMITS)


@pytest.mark.parametrize(
    "damage",
    [
        lambda raw: b"",
        lambda raw: b"\xff\xfe\n" + raw,
        lambda raw: b"[]\n" + raw.partition(b"\n")[2],
        lambda raw: b"{}\n" + raw.partition(b"\n")[2],
        lambda raw: raw[: raw.index(b"head")],
        lambda raw: raw[:-3],
        lambda raw: raw[:-3] + bytes([raw[-3] ^ 1]) + raw[-2:],
        lambda raw: raw.replace(b'"run": "run"', b'"run": "ran"'),
    ],
    ids=["empty", "not text", "a list", "no digest", "torn", "cut", "a flipped bit", "a run"],
)
def test_a_damaged_file_is_for_a_person_to_decide_about(
    tmp_path: Path, damage: Callable[[bytes], bytes]
) -> None:
    """Beginning anew silently would lose what nobody else has; a flipped bit would be counted."""
    keep(TrainingState(tmp_path, LIMITS), head=torch.ones(2))
    path = tmp_path / FILE
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(InvalidInputError, match=rf"{FILE} is damaged, .*remove it to"):
        TrainingState(tmp_path, LIMITS)


def test_a_crash_leaves_what_one_training_left_and_never_two(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A residual without its update would be sent twice: once in it, and once more on top."""
    keep(TrainingState(tmp_path, LIMITS), head=torch.ones(2))

    def crash(*_: object) -> None:
        raise KeyboardInterrupt

    for step in ("fsync", "replace"):
        training_state = TrainingState(tmp_path, LIMITS)
        newer = {"residual": {"w": torch.zeros(5)}, "private": {"head": torch.zeros(2)}}
        with monkeypatch.context() as patch:
            patch.setattr(os if step == "fsync" else Path, step, crash)
            with pytest.raises(KeyboardInterrupt):
                training_state.keep(encoded(2.0, "b" * 64), **newer)
        after = TrainingState(tmp_path, LIMITS)
        assert content(after.answer_to(version(BASE))) == content(encoded())
        assert torch.equal(after.owed_to("run")["w"], torch.ones(5))
        assert torch.equal(after.private["head"], torch.ones(2))


def test_a_refused_update_is_forgotten_by_the_next_life_alone(tmp_path: Path) -> None:
    """Which may have other data; what the training left behind stays, and so does another's."""
    training_state = TrainingState(tmp_path, LIMITS)
    keep(training_state, head=torch.ones(2))
    training_state.refused(UpdateRefused(run="run", base_version=2, reason="", again=True))
    assert TrainingState(tmp_path, LIMITS).answer_to(version(BASE)) is not None
    training_state.refused(UpdateRefused(run="run", base_version=3, reason="", again=True))
    assert training_state.answer_to(version(BASE)) is not None
    after = TrainingState(tmp_path, LIMITS)
    assert after.answer_to(version(BASE)) is None
    assert torch.equal(after.owed_to("run")["w"], torch.ones(5))
    assert torch.equal(after.private["head"], torch.ones(2))


def test_what_is_left_in_memory_is_in_the_folder_until_the_next_update(tmp_path: Path) -> None:
    """So a process that dies in the next training sends the last update again."""
    training_state = TrainingState(tmp_path, LIMITS)
    keep(training_state)
    training_state.leave_last_update()
    assert training_state.answer_to(version(BASE)) is None
    assert training_state.last_update is not None
    assert TrainingState(tmp_path, LIMITS).answer_to(version(BASE)) is not None
    training_state.keep(encoded(2.0, "b" * 64), residual={"w": torch.ones(5)}, private={})
    training_state.refused(UpdateRefused(run="run", base_version=3, reason="", again=True))
    after = TrainingState(tmp_path, LIMITS)
    assert after.answer_to(version(BASE)) is None
    assert torch.equal(after.owed_to("run")["w"], torch.ones(5))

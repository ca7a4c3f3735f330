"""Facts about versions that are kept beside the last and the best one."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from fanfold.coordinator.persistence.kept_versions import KeepRule, KeptVersions
from fanfold.coordinator.settings import RunSettings
from fanfold.schemas.errors import InvalidInputError
from fanfold.schemas.tensor_codec import parameters_sha256
from tests.coordinator.fake_broker import FakeBroker
from tests.federation.tiny_tasks import Tiny


def names(folder: Path) -> set[str]:
    return {path.name for path in (folder / "versions").iterdir()}


def put(kept: KeptVersions, version: int) -> None:
    kept.put(version, {"w": torch.full((2,), float(version))}, {"version": str(version)})


@pytest.mark.parametrize(
    ("rule", "left"),
    [("0", []), ("2", [6, 7]), ("all", [1, 2, 3, 4, 5, 6, 7]), ("every:3", [3, 6])],
)
def test_a_rule_says_which_versions_stay(rule: str, left: list[int]) -> None:
    parsed = KeepRule.parse(rule)
    assert [each for each in range(1, 8) if parsed.keeps(each, newest=7)] == left


@pytest.mark.parametrize("text", ["", "-1", "every:0", "every:", "last", "3.5"])
def test_what_is_no_rule_is_refused_in_words(text: str) -> None:
    with pytest.raises(InvalidInputError, match=r"says not which versions to keep; use all, every"):
        KeepRule.parse(text)
    with pytest.raises(ValueError, match=r"says not which versions to keep"):
        RunSettings(task="digits", keep_versions=text)


def test_nobody_finds_a_version_before_its_round_is_committed(tmp_path: Path) -> None:
    kept = KeptVersions(tmp_path, KeepRule.parse("2"))
    for version in (1, 2, 3):
        put(kept, version)
    assert names(tmp_path) == {"1.uncommitted", "2.uncommitted", "3.uncommitted"}
    kept.committed(3)
    assert names(tmp_path) == {"2.safetensors", "3.safetensors"}
    assert load_file(tmp_path / "versions" / "3.safetensors")["w"].tolist() == [3.0, 3.0]


def test_after_a_crash_only_what_was_committed_is_found(tmp_path: Path) -> None:
    """Also a version that lacks no more than its name, and none of a later future."""
    kept = KeptVersions(tmp_path, KeepRule.parse("all"))
    put(kept, 1)
    kept.committed(1)
    for version in (2, 3):
        put(kept, version)
    again = KeptVersions(tmp_path, KeepRule.parse("all"))
    again.load(2)
    assert names(tmp_path) == {"1.safetensors", "2.safetensors"}
    KeptVersions(tmp_path, KeepRule.parse("all")).load(1)  # restored from a backup
    assert names(tmp_path) == {"1.safetensors"}


def test_a_run_keeps_what_it_is_told_with_a_digest_each(tmp_path: Path) -> None:
    """A fresh start removes them with all else."""
    digests: dict[str, str] = {}
    for path in sorted(ran(tmp_path, keep_versions="every:2").glob("versions/*")):
        with safe_open(path, "pt") as file:
            digests[path.name] = file.metadata()["parameters_sha256"]
        assert parameters_sha256(load_file(path)) == digests[path.name]
    assert list(digests) == ["2.safetensors", "4.safetensors"]
    assert not (ran(tmp_path, resume=False) / "versions").exists()


def ran(folder: Path, **settings: Any) -> Path:
    """Train one participant for five rounds, and return the run's folder."""
    broker = FakeBroker(folder)
    broker.hello("ann")
    broker.on_version = lambda version: broker.update("ann", version)
    broker.run(Tiny(), rounds=5, **settings)
    return folder

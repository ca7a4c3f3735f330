"""`fanfold local --data a --data b`: a participant for each folder, named after it."""

from pathlib import Path
from typing import Any

import pytest

from fanfold.api.reading import read
from fanfold.local.commands import coordinator_settings, participant_command
from fanfold.local.settings import LocalSettings
from fanfold.participant.data_folders import participants_of
from fanfold.schemas.errors import InvalidInputError


def settings(*folders: Path, **options: Any) -> LocalSettings:
    return read(LocalSettings, {"data": [str(each) for each in folders], **options})


def test_each_folder_has_a_participant_of_its_name(tmp_path: Path) -> None:
    """All are waited for, and no folder is divided."""
    three = settings(tmp_path / "anna", tmp_path / "bern", tmp_path / "cork", out=str(tmp_path))
    assert three.names == ("anna", "bern", "cork")
    assert (three.participants, three.min_participants) == (3, 3)
    flags = participant_command(three, 1)
    assert {"--id=bern", f"--data={tmp_path / 'bern'}"} <= {*flags}
    assert [each for each in flags if "partition" in each] == []
    assert coordinator_settings(three).data is None


def test_held_out_data_have_a_folder_of_their_own(tmp_path: Path) -> None:
    """It is the coordinator's alone; a single --data is everybody's, as before."""
    two = settings(tmp_path / "a", tmp_path / "b", test_data=str(tmp_path / "held-out"))
    assert coordinator_settings(two).data == tmp_path / "held-out"
    assert not any("held-out" in each for each in participant_command(two, 0))
    one = settings(tmp_path / "a")
    assert coordinator_settings(one).data == tmp_path / "a"
    assert one.names == tuple(f"participant-{index}" for index in range(4))
    assert "--num-partitions=4" in participant_command(one, 3)


def test_a_name_becomes_an_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a hyphen for what no id may have; a dot is the folder that it stands for."""
    monkeypatch.chdir(tmp_path)
    assert participants_of([tmp_path / "St. Anna", Path()]) == ("St-Anna", tmp_path.name)


@pytest.mark.parametrize(
    ("folders", "options", "sentence"),
    [
        (("a/data", "b/data"), {}, "would both be the participant 'data'"),
        (("a", "?"), {}, "gives its participant no id: name it with letters"),
        (("a", "coordinator"), {}, "gives its participant no id"),
        (("a", "b"), {"participants": "3"}, "--participants 3 contradicts the 2 folders"),
        (("a", "b"), {"partition": "iid"}, "leave --partition out"),
    ],
)
def test_folders_that_contradict_each_other_or_an_option_are_refused(
    folders: tuple[str, ...], options: dict[str, str], sentence: str
) -> None:
    with pytest.raises(InvalidInputError, match=sentence):
        settings(*map(Path, folders), **options)

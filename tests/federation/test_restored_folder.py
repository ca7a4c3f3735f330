"""A folder that was restored from a backup, at a real broker, whose participants know better."""

import shutil
from typing import Any

import pytest


@pytest.mark.parametrize("restarts", [0, 2])
def test_participants_follow_a_restored_coordinator_at_once(live: Any, restarts: int) -> None:
    """Whatever version and epoch they have seen; no deadline passes, and no file is edited."""
    backup = live.out.with_name("backup")
    given: dict[str, Any] = {"min_participants": 2, "deadline_seconds": 3600.0}
    coordinator = live.coordinator("Tiny", rounds=2, **given)
    for index in range(2):
        live.participant("Tiny", index, 2)
    coordinator.result.result(90)
    shutil.copytree(live.out, backup)
    for more in range(restarts + 1):
        again = live.coordinator("Tiny", rounds=5 + more, **given)
        assert again.result.result(90).rounds == 5 + more

    shutil.rmtree(live.out)
    shutil.copytree(backup, live.out)
    restored = live.coordinator("Tiny", rounds=4, restored=True, **given)
    assert restored.result.result(90).is_finished
    assert [each["round"] for each in restored.all("round_closed")] == [3, 4]
    assert [each["updates"] for each in restored.all("round_closed")] == [2, 2]


def test_without_the_option_both_sides_say_what_is_wrong(live: Any) -> None:
    """The coordinator names who has seen what, and the option; participants what they ignore."""
    backup = live.out.with_name("backup")
    given: dict[str, Any] = {"min_participants": 1, "deadline_seconds": 3600.0}
    coordinator = live.coordinator("Tiny", rounds=2, **given)
    participant = live.participant("Tiny")
    coordinator.result.result(90)
    shutil.copytree(live.out, backup)
    for rounds in (3, 4):
        live.coordinator("Tiny", rounds=rounds, **given).result.result(90)

    shutil.rmtree(live.out)
    shutil.copytree(backup, live.out)
    old = live.coordinator("Tiny", rounds=9, **given)
    (told,) = old.wait_for("run_is_ahead")
    assert (told["participant"], told["version"], told["is_ignored"]) == ("p0", 3, True)
    (ignored,) = participant.wait_for("version_of_older_epoch")
    assert (ignored["version"], ignored["epoch"]) == (2, told["own_epoch"])

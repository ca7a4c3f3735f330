"""Facts about a federation whose updates are all refused, on a real broker."""

from pathlib import Path
from typing import Any

import pytest


@pytest.mark.slow
def test_a_run_where_everybody_is_refused_ends_in_words(live: Any) -> None:
    """With the exit code of a run that failed, and who and why on standard error."""
    flags = [f"--out={live.out}", "--rounds=1", "--min-participants=2", "--deadline-seconds=1"]
    for index in range(2):
        live.process("participant", "Ill", f"--id=p{index}", ILL="1")
    coordinator = live.process("coordinator", "Ill", *flags)
    told = coordinator.wait_for("all_refused")
    assert "non-finite values: in 'weight' (p0, p1)" in told["refused"]
    code, message = coordinator.end()
    assert code == 1
    assert message.startswith("fanfold: round 1 can never close: all who are present were refused")


@pytest.mark.slow
@pytest.mark.parametrize("is_kept", [True, False])
def test_a_participant_that_was_mended_trains_the_refused_version_again(
    live: Any, tmp_path: Path, is_kept: bool
) -> None:
    """It is sent the version when it comes back, and does not send the kept update once more."""
    coordinator = live.coordinator("Ill", rounds=1, when_all_refused="wait")
    flags = ["--id=p0", *([f"--state-dir={tmp_path / 'state'}"] if is_kept else [])]
    ill = live.process("participant", "Ill", *flags, ILL="1")
    ill.wait_for("update_refused")
    coordinator.wait_for("all_refused")
    ill.terminate()
    well = live.process("participant", "Ill", *flags)
    assert well.wait_for("version_received")["version"] == 0
    assert coordinator.result.result(60).is_finished
    assert len(coordinator.all("update_refused")) == 1

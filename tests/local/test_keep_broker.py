"""What `fanfold local --keep-broker` says of the broker that stays."""

import json
import stat
from pathlib import Path

import pytest
from nodes import BrokerNode

from fanfold.local.assembly import with_broker
from fanfold.schemas.events.coordinator import RunFinished
from fanfold.views.view import JsonView, LinesView


def test_people_are_told_the_login_and_programs_a_file(
    broker_node: BrokerNode, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What programs print ends in logs; the file is its owner's alone."""
    path = tmp_path / "management-password"
    finished = RunFinished(rounds=1, accuracy=None, model="m", parameters_sha256="0")
    for view in (LinesView(), JsonView()):
        with view:
            is_read_by_people = isinstance(view, LinesView)
            say = with_broker(view, broker_node, path, shows_password=is_read_by_people)
            say(finished)
    told = capsys.readouterr().out.splitlines()

    assert f"user {broker_node.user}, password {broker_node.password}" in told[0]
    kept = json.loads(told[2])
    assert (kept["event"], kept["user"]) == ("broker_kept", broker_node.user)
    assert broker_node.password not in told[2]
    assert Path(kept["password_file"]).read_text() == broker_node.password
    assert stat.S_IMODE(path.stat().st_mode) == 0o600

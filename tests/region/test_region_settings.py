"""Facts about the options of a region: each mistake is one sentence, and exit code 2."""

from pathlib import Path

import pytest

from fanfold.__main__ import main
from fanfold.api.reading import read
from fanfold.region.settings import RegionSettings
from fanfold.schemas.errors import InvalidInputError

HERE, ABOVE = "amqp://u:p@here/", "amqp://u:p@above/"


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"upstream_broker": ()}, "name the broker of the federation above with --upstream-broker"),
        ({"broker": (ABOVE,), "federation": "fanfold"}, "stands between two federations"),
        ({"goal": "most"}, "--goal"),
        ({"id": None}, "--id"),
        ({"max_version_bytes": "3"}, "--max-version-bytes"),
    ],
)
def test_what_makes_no_region_is_refused(options: dict[str, object], sentence: str) -> None:
    """Before anything is connected."""
    given = {"id": "north", "broker": (HERE,), "upstream_broker": (ABOVE,)}
    with pytest.raises(InvalidInputError, match=sentence):
        read(RegionSettings, given | options)


def test_a_mistake_ends_with_exit_code_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As of every command."""
    monkeypatch.setattr("sys.argv", ["fanfold", "region", "--id", "north", "--broker", HERE])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert "--upstream-broker" in capsys.readouterr().err


def test_the_two_sides_are_told_what_is_theirs(tmp_path: Path) -> None:
    """The participant's queue is above, the results are below."""
    settings = read(
        RegionSettings,
        {"id": "north", "broker": (HERE,), "upstream_broker": (ABOVE,), "out": tmp_path},
    )
    above = settings.above()
    assert (above.id, above.federation, above.broker) == ("north", "fanfold", (ABOVE,))
    assert above.state_dir == tmp_path / "above"

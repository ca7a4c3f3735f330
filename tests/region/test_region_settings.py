"""Facts about the options of a region: each mistake is one sentence, and exit code 2."""

from pathlib import Path

import pytest
from pydantic import SecretStr

from fanfold.__main__ import main
from fanfold.access.credentials import Credentials
from fanfold.api.reading import read
from fanfold.region.settings import (
    RegionSettings,
    rereading_above,
    with_credentials_above,
)
from fanfold.schemas.errors import InvalidInputError
from fanfold.schemas.messages import GlobalParameters, TrainingPlan

HERE, ABOVE = "amqp://u:p@here/", "amqp://u:p@above/"
NOBODY = "amqp://u:p@127.0.0.1:1/"


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


def test_the_environment_names_both_brokers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also in files, as containers get their secrets."""
    urls = tmp_path / "url"
    urls.write_text(ABOVE)
    monkeypatch.setenv("FANFOLD_BROKER_URL", HERE)
    monkeypatch.setenv("FANFOLD_UPSTREAM_BROKER_URL_FILE", str(urls))
    settings = read(RegionSettings, {"id": "north"})
    assert (settings.broker, settings.upstream_broker) == ((HERE,), (ABOVE,))


def test_a_mistake_ends_with_exit_code_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As of every command."""
    monkeypatch.setattr("sys.argv", ["fanfold", "region", "--id", "north", "--broker", HERE])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert "--upstream-broker" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--ca-file", "no.pem"), "--ca-file has no use without TLS"),
        (("--upstream-ca-file", "no.pem"), "--upstream-ca-file has no use without TLS"),
        (("--identity", "nowhere"), "nowhere"),
        (("--roster", "nowhere"), "--roster need the coordinator's keys"),
        (("--broker", "amqp://u:p@:x/"), "the broker's address must look like"),
        (("--upstream-identity", "no"), "--upstream-identity needs to know the coordinator's"),
        (("--upstream-coordinator-identity", "no"), "name them with --upstream-identity DIR"),
        (("--out", "/dev/null"), "--out /dev/null/above cannot be used"),
        (("--credentials", "no.json"), "fanfold: --credentials no.json: No such file"),
        (("--upstream-credentials", "no.json"), "--upstream-credentials no.json: No such file"),
    ],
)
def test_each_side_is_checked_at_the_start_and_named_as_a_region_names_it(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: tuple[str, ...],
    sentence: str,
) -> None:
    """Not with the first version from above, which may come in an hour; nothing is connected."""
    monkeypatch.chdir(tmp_path)
    brokers = ["--broker", HERE] if "--broker" not in words else []
    given = ["--id", "north", "--upstream-broker", NOBODY, "--connect-seconds", "0.1", *brokers]
    monkeypatch.setattr("sys.argv", ["fanfold", "region", *given, *words])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert sentence in capsys.readouterr().err


def test_the_two_sides_are_told_what_is_theirs(tmp_path: Path) -> None:
    """The participant's queue is above, the results are below."""
    settings = read(
        RegionSettings,
        {
            "id": "north",
            "broker": (HERE,),
            "upstream_broker": (ABOVE,),
            "out": tmp_path,
            "max_bytes_per_second": 20_000,
        },
    )
    above = settings.above()
    assert (above.id, above.federation, above.broker) == ("north", "fanfold", (ABOVE,))
    assert above.state_dir == tmp_path / "above"
    assert above.max_bytes_per_second == 20_000


def test_credentials_of_both_sides_are_enough(tmp_path: Path) -> None:
    """Above the region is an enrolled participant; below it takes enrolled ones alone."""
    for role, login in (("participant", "north"), ("coordinator", "coordinator")):
        Credentials(
            role=role,
            federation=f"of-{role}",
            login=login,
            password=SecretStr("secret"),
            brokers=(f"amqp://{role}.example/",),
        ).write(tmp_path / f"{role}.json")
    options = with_credentials_above({"id": None}, tmp_path / "participant.json")
    settings = read(RegionSettings, options, tmp_path / "coordinator.json", role="coordinator")
    above = settings.above()
    assert (above.id, above.federation) == ("north", "of-participant")
    assert above.broker == ("amqp://north:secret@participant.example/",)
    message = GlobalParameters(
        run="r", version=0, rounds=9, plan=TrainingPlan(epochs=1, batch_size=1, lr=0.1)
    )
    below = settings.below(message)
    assert (below.federation, below.require_login) == ("of-coordinator", True)
    assert below.broker == ("amqp://coordinator:secret@coordinator.example/",)
    again = rereading_above(settings, {"id": None}, tmp_path / "participant.json")
    assert again is not None
    assert again() == above
    with pytest.raises(InvalidInputError, match=r"--id south contradicts the credentials"):
        with_credentials_above({"id": "south"}, tmp_path / "participant.json")


def test_credentials_of_another_region_are_not_taken_in_the_middle(tmp_path: Path) -> None:
    """The next attempt to connect says so, and goes on with those of before."""
    path = tmp_path / "north.json"

    def write(login: str) -> None:
        path.unlink(missing_ok=True)
        Credentials(
            role="participant",
            federation="scans",
            login=login,
            password=SecretStr("secret"),
            brokers=("amqp://above/",),
        ).write(path)

    write("north")
    options = with_credentials_above({"broker": (HERE,)}, path)
    again = rereading_above(read(RegionSettings, options), {"broker": (HERE,)}, path)
    assert again is not None
    write("north.2")
    assert again().broker == ("amqp://north.2:secret@above/",)
    write("south")
    with pytest.raises(InvalidInputError, match=r"--id north contradicts the credentials"):
        again()

"""Facts about mistakes on the command line: one clear sentence and exit code 2."""

import re
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from fanfold.cli import commands
from fanfold.cli import help as help_groups

Run = Callable[..., tuple[int, str]]


@pytest.fixture
def fanfold(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Run:
    """Run the command line in this process; return exit code and the last line of its message."""

    def run(*arguments: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["fanfold", *arguments])
        monkeypatch.setattr(commands.logs, "set_up", lambda *_args, **_bound: None)
        with pytest.raises(SystemExit) as caught:
            commands.main()
        message = capsys.readouterr().err.strip()
        assert "Traceback" not in message
        return int(caught.value.code or 0), (message.splitlines() or [""])[-1]

    monkeypatch.delenv("FANFOLD_BROKER_URL", raising=False)
    return run


TASK = "--task=tests.federation.tiny_tasks:Tiny"
NOWHERE = "--broker=amqp://127.0.0.1:1"


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--task=nonsense"], "there is no built-in task 'nonsense'; use digits, mnist"),
        (["--task=no.such:Task"], "there is no module 'no' for the task"),
        ([TASK, NOWHERE, "--connect-seconds=0.5"], "no broker answered within 0.5 s at amqp://"),
        ([TASK], "name a broker with --broker or FANFOLD_BROKER_URL"),
        ([TASK, "--broker=http://x"], "the broker's address must look like amqp://"),
        ([TASK, NOWHERE, "--rounds=-1"], "--rounds '-1' must be greater than or equal to 0"),
        ([TASK, NOWHERE, "--optimizer=magic"], "there is no optimizer 'magic'"),
        ([TASK, NOWHERE, "--device=abacus"], "abacus"),
        (
            [f"{TASK}OfManyBytes", NOWHERE, "--chunk-bytes=1024"],
            "choose --chunk-bytes 1038 or more",
        ),
        ([TASK, NOWHERE, "--initial=missing.safetensors"], "cannot be read as safetensors"),
        ([TASK, NOWHERE, "--restored"], "holds no checkpoint; put the backup there first, or"),
        ([TASK, NOWHERE, "--restored", "--fresh"], "--fresh begins anew; leave one of them out"),
    ],
)
def test_a_coordinators_mistakes_end_with_two(
    fanfold: Run, tmp_path: Path, flags: list[str], sentence: str
) -> None:
    """And one sentence that says what to do."""
    code, message = fanfold("coordinator", f"--out={tmp_path / 'out'}", *flags)
    assert code == 2
    assert message.startswith("fanfold: ")
    assert sentence in message


API = ("--management", "http://admin:hush@127.0.0.1:1")
WRONG = [
    (("enroll", *API), "name the participant: fanfold enroll ID"),
    (("enroll", "St. Anna", *API), "the id 'St. Anna' must be 1 to 64 letters, digits, '_' or '-'"),
    (("enroll", "anna", *API, "--federation", "a b"), "the federation 'a b' must be 1 to 64"),
    (("enroll", "anna", "--management", "here"), "must look like http://login:password@host:15672"),
    (("enroll", "anna", *API, "--certificate", "no.pem"), "--certificate no.pem cannot be used"),
    (("enroll", "anna", *API, "--key", "no.pem"), "--key has no use without --certificate"),
    (("enroll", "anna", *API), "there is no management API at http://127.0.0.1:1"),
    (("enroll", "anna", "--coordinator", "--operator", *API), "enrol one at a time"),
    (
        ("coordinator", TASK, NOWHERE, "--out=empty", "--restored"),
        "--out empty holds no checkpoint",
    ),
    (("coordinator", TASK, NOWHERE, "--restored", "--fresh"), "leave one of them out"),
    (("coordinator", TASK, NOWHERE, "--out=file", "--restored"), "cannot be written to"),
    (("report", "nowhere"), "nowhere holds no history.jsonl; name the folder that a run was given"),
    (("report", "empty"), "empty holds no history.jsonl"),
    (("report",), "missing argument 'RUN'; see `fanfold report --help`"),
    (("compare", "a"), "missing argument 'RUN'; see `fanfold compare --help`"),
    (("report", "a", "b"), "got unexpected extra argument(s) (b); see `fanfold report --help`"),
    (("reprot",), "no such command 'reprot'"),
    (("region", "--nonsense"), "no such option: --nonsense"),
    (("region", "--id"), "option '--id' requires an argument"),
    (("audit",), "missing argument 'DIR'; see `fanfold audit --help`"),
    (("local", "--data=a", "--data=b/a"), "--data a and --data b/a would both be the participant"),
    (("local", "--data=a", "--data=nowhere"), "--data nowhere is not a folder"),
    (("local", "--data=a", "--data=b", "--participants=3"), "leave --participants out"),
    (("local", "--data=a", "--data=b", "--partition=iid"), "leave --partition out"),
    (("replay", "--data=a", "--data=b", "--partition=iid"), "leave --partition out"),
    (("replay", "--out=empty"), "empty holds no checkpoint of a run"),
]


@pytest.mark.parametrize(("words", "sentence"), WRONG, ids=[" ".join(words) for words, _ in WRONG])
def test_a_wrong_use_ends_with_two_and_one_sentence(
    fanfold: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    words: tuple[str, ...],
    sentence: str,
) -> None:
    """Nothing is made by it, and a password is not repeated."""
    monkeypatch.chdir(tmp_path)
    for name in ("a", "b/a", "empty"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "file").write_text("in the way")
    code, message = fanfold(*words)
    assert code == 2
    assert sentence in message
    assert "hush" not in message
    assert "Usage" not in message
    assert {path.name for path in tmp_path.iterdir()} == {"a", "b", "empty", "file"}


DP_SGD = ["--dp-sgd-clip=1", "--dp-sgd-noise=1"]


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--dp-sgd-clip=1"], "only mean something together; give both"),
        (["--dp-sgd-clip=1", "--dp-sgd-noise=0"], "--dp-sgd-noise '0' must be greater than"),
        ([*DP_SGD, "--compile", "--autocast"], "does not go with --autocast, --compile"),
        ([*DP_SGD], "name a folder with --state-dir"),
        ([*DP_SGD, "--state-dir=state"], "Tiny trains in a way of its own (`fit`)"),
        (
            [
                *DP_SGD,
                "--state-dir=state",
                TASK.replace("Tiny", "NormalisedByLibrary"),
            ],
            "does not go with batch normalisation (1)",
        ),
    ],
)
def test_what_no_private_training_can_be_is_told(
    fanfold: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flags: list[str], sentence: str
) -> None:
    """Before anybody connects."""
    flags = [flag.replace("=state", f"={tmp_path}") for flag in flags]
    task = [] if any(flag.startswith("--task") for flag in flags) else [TASK]
    code, message = fanfold("participant", "--id=ann", *task, NOWHERE, *flags)
    assert code == 2
    assert sentence in message


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (
            ["--dp-clip=1", "--dp-noise=0"],
            "--dp-noise '0' must be greater than or equal to",
        ),
        (["--dp-clip=1"], "--dp-clip and --dp-noise only mean something together"),
        (["--dp-sgd-noise=1"], "--dp-sgd-clip and --dp-sgd-noise only mean something together"),
        ([*DP_SGD, "--loader-workers=2"], "does not go with --loader-workers"),
    ],
)
def test_a_whole_federation_refuses_the_same(
    fanfold: Run, tmp_path: Path, flags: list[str], sentence: str
) -> None:
    """`fanfold local` starts nobody."""
    code, message = fanfold("local", TASK, NOWHERE, f"--out={tmp_path / 'out'}", *flags)
    assert code == 2
    assert sentence in message
    assert not (tmp_path / "out").exists()


def test_an_unwritable_folder_is_told_before_anything_starts(fanfold: Run, tmp_path: Path) -> None:
    """Of the coordinator and of a whole local federation."""
    (tmp_path / "file").write_text("in the way")
    for command in ("coordinator", "local"):
        code, message = fanfold(command, TASK, f"--out={tmp_path / 'file' / 'out'}", NOWHERE)
        assert code == 2
        assert "cannot be written to (Not a directory); choose another folder" in message


def test_a_metrics_port_in_use_is_told(fanfold: Run, tmp_path: Path) -> None:
    """It is the one port that people choose themselves."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, message = fanfold(
            "coordinator", TASK, NOWHERE, f"--out={tmp_path}", f"--metrics-port={port}"
        )
    assert code == 2
    assert str(port) in message


def test_a_port_that_is_no_brokers_is_no_broker(fanfold: Run, tmp_path: Path) -> None:
    """Something listens there, and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"--broker=amqp://127.0.0.1:{silent.getsockname()[1]}"
        code, message = fanfold(
            "coordinator", TASK, address, f"--out={tmp_path}", "--connect-seconds=1"
        )
    assert code == 2
    assert "no broker answered within 1 s" in message


def test_an_empty_data_folder_is_told(fanfold: Run, tmp_path: Path) -> None:
    """Before anybody connects; and so is one that is not there."""
    task = "--task=tests.federation.tiny_tasks:FromFolder"
    code, message = fanfold("participant", "--id=ann", task, f"--data={tmp_path}", NOWHERE)
    assert code == 2
    assert "has no examples" in message
    code, message = fanfold("participant", "--id=ann", task, "--data=nowhere", NOWHERE)
    assert code == 2
    assert "the data folder 'nowhere' is not a folder" in message


def test_a_missing_file_in_the_data_folder_is_told(fanfold: Run, tmp_path: Path) -> None:
    """Whatever the task does to open it: the sentence names the file, and --data."""
    for command, task, name in (
        (["participant", "--id=ann"], "FromFile", "train.txt"),
        (["coordinator", f"--out={tmp_path / 'out'}"], "HeldOutFromFile", "test.pt"),
    ):
        flags = [f"--task=tests.federation.tiny_tasks:{task}", f"--data={tmp_path}", NOWHERE]
        code, message = fanfold(*command, *flags)
        assert code == 2
        expected = (
            f"fanfold: the task cannot read its data in {tmp_path} ({tmp_path / name}: No such"
        )
        assert message.startswith(expected)
        assert message.endswith("; name the folder that holds it with --data")


def test_a_parameter_that_cannot_travel_is_told(fanfold: Run, tmp_path: Path) -> None:
    """The network is the user's input."""
    task = "--task=tests.federation.tiny_tasks:SparseParameter"
    code, message = fanfold("coordinator", task, NOWHERE, f"--out={tmp_path}")
    assert code == 2
    assert message.startswith(
        "fanfold: few is sparse (torch.sparse_coo), and only dense tensors travel"
    )


@pytest.mark.parametrize(
    "command",
    ["local", "coordinator", "participant", "status", "simulate", "replay", "check", "enroll"],
)
def test_every_command_explains_itself(command: str) -> None:
    """With exit code 0, and without loading torch."""
    program = (
        "import sys; from fanfold.cli import commands as cli\n"
        f"sys.argv = ['fanfold', {command!r}, '--help']\n"
        "try: cli.main()\n"
        "finally: print('loaded:', sorted({'torch', 'numpy', 'fanfold.learning'} & "
        "sys.modules.keys()))"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert ended.stdout.splitlines()[-1] == "loaded: []"
    assert f"Usage: fanfold {command}" in ended.stdout
    assert ended.stderr == ""


def test_help_groups_options_by_what_they_are_about(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Eighty options in one list are no help; each has a group that has not too many."""
    monkeypatch.setattr(sys, "argv", ["fanfold", "local", "--help"])
    with pytest.raises(SystemExit, match="0"):
        commands.main()
    sections = re.findall(r"^(\w[\w ]+):\n((?:  .*\n)+)", capsys.readouterr().out, re.MULTILINE)
    sizes = {title: len(re.findall("^  --", lines, re.MULTILINE)) for title, lines in sections}
    assert ["Arguments", *sizes] == [*help_groups.ORDER, "Examples"]  # `local` takes none
    assert max(sizes.values()) <= 16


def test_a_look_at_a_federation_loads_no_torch() -> None:
    """`fanfold status` answers at once."""
    loaded = "{'torch', 'numpy'} & sys.modules.keys()"
    program = f"import sys, fanfold.monitoring.status.watch; print({loaded})"
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert ended.stdout == "set()\n"

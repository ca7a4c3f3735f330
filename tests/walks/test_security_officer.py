"""A security officer's walk: twenty questions, each answered by a line of docs/security.md.

The questions stand in the page's first table, which links each to a section. The answer has to be
in that section, and nowhere else in the page. What can be asked of the software at once is asked,
too.
"""

import ast
import os
import re
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from fanfold.access.credentials import Credentials
from fanfold.access.enrolment import Enrolment
from fanfold.cli.commands import app
from fanfold.coordinator.aggregation.privacy_settings import epsilon
from fanfold.page.settings import PageSettings
from fanfold.schemas.errors import InvalidInputError, MalformedMessageError
from fanfold.schemas.message_codec import decode
from fanfold.schemas.names import FederationNames
from fanfold.schemas.reader_limits import ReaderLimits
from fanfold.sealing.identity import PublicIdentity
from fanfold.sealing.roster import read_roster
from fanfold.sealing.run_keys import RunKeys
from fanfold.transport.tls import client_context

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "security.md").read_text()

ANSWERS = {
    "Who can read our data?": ["| private data | no | no | no | no | no | no |"],
    "Who can read an update that we send?": ["| one update | TLS | sealed | masked | no: it sees"],
    "Who can read the model?": ["| the model | TLS | sealed | yes | no | yes | yes |"],
    "Who can read metrics, sizes and times?": [
        "| names and values of metrics | TLS | sealed | yes | no |",
        "| names, sizes and times of messages, who takes part | sizes and times: yes; names: TLS |",
    ],
    "Who can forge a message?": ["| forge a version, or an update in another's name | TLS |"],
    "Who can replay a message?": ["| replay a message | TLS | sealed | yes, its own |"],
    "Who can drop a message?": ["| drop or delay a message | yes; it is noticed as silence |"],
    "Who can poison the model?": ["| poison the model | TLS | sealed | yes: it makes the model |"],
    "Where do keys and passwords lie, and who can read the files?": [
        "| `identity.json`: the private keys of one member | its own machine,",
        "| credentials: the password of one broker login | where `fanfold enroll` wrote it",
    ],
    "How are keys changed, and how is somebody shut out?": [
        "gives a member other keys; the old ones count no longer",
        "takes a member off the roster; with `--management` its login and queue go, too",
    ],
    "What is logged, and how is the audit trail checked?": [
        "says who was enrolled, given other keys and revoked, when and by whom",
        "| `fanfold audit ROSTER` | checks the audit trail and prints it |",
    ],
    "What do we do about a stolen password?": ["1. `fanfold revoke ID --management URL`, with"],
    "What is encrypted on the wire?": ["`amqps://` is TLS 1.2 or newer."],
    "What is encrypted at rest?": ["**Nothing is encrypted at rest**"],
    "Which ports are open?": [
        "| 5671, or 5672 without TLS | the broker |",
        "compose opens 15672 to its own machine alone",
        "| 9464 (`--metrics-port`) |",
        "| 8600 (`fanfold page`, `--page-port`) | the page; on 127.0.0.1,",
    ],
    "Which dependencies have known vulnerabilities?": ["pip-audit could look up none of the pins"],
    "Can a message run code, by pickle for instance?": ["No message carries code: bodies are"],
    "What limits the memory, disk and connections that a participant can take?": [
        "Everything is checked before it is used and before memory is allocated",
    ],
    "To what does the epsilon of differential privacy relate?": [
        "all updates of one participant are zero. A sum moves by C.",
        "by 2C, as if z were half as large: z = 4 and 20 updates spend 4.98 and 11.48 at a delta",
    ],
    "What does a keeper of masks see?": ["| one keeper | how many took part, and who |"],
}

Run = Callable[..., str]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Type a command in an empty folder, and return what it prints."""
    monkeypatch.chdir(tmp_path)
    for name in ("FANFOLD_MANAGEMENT_URL", "FANFOLD_ROSTER"):
        monkeypatch.delenv(name, raising=False)

    def typed(*arguments: str) -> str:
        ended = CliRunner().invoke(app, [*arguments])
        if ended.exception is not None:
            raise ended.exception
        return ended.output

    return typed


def sections() -> dict[str, str]:
    """The page's sections by the address of their heading, each without those below it."""
    parts = re.split(r"^#+ (.+)\n", PAGE, flags=re.MULTILINE)
    return {
        re.sub(r"[^a-z -]", "", heading.lower()).replace(" ", "-"): text
        for heading, text in zip(parts[1::2], parts[2::2], strict=True)
    }


def questions() -> dict[str, str]:
    """The page's questions, and the address of the section that each is linked to."""
    row = re.compile(r"^\| (.+\?) \| \[.+\]\(#(.+)\) \|$", re.MULTILINE)
    return dict(row.findall(sections()["questions"]))


def test_the_page_asks_these_twenty_questions() -> None:
    """In the order of the questionnaire, near the top of the page."""
    assert list(questions()) == list(ANSWERS)
    assert len(ANSWERS) == 20
    assert "## Questions" in PAGE.splitlines()[:12]


@pytest.mark.parametrize("question", ANSWERS)
def test_a_question_has_its_answer_where_its_link_leads(question: str) -> None:
    """In one line, which stands in the page once."""
    section = sections()[questions()[question]]
    for answer in ANSWERS[question]:
        assert [answer in line for line in PAGE.splitlines()].count(True) == 1, answer
        assert answer in section


def test_the_first_lines_say_that_vulnerabilities_were_never_looked_up() -> None:
    """Nobody has to reach the end of the page to know it."""
    first = PAGE.split("\n\n")[1]
    assert first.startswith("**`pip-audit` was never run against a list of known vulnerabilities**")


def test_keys_and_passwords_are_their_owners_alone(run: Run, tmp_path: Path) -> None:
    """Also where the umask would let everybody read them."""
    credentials = Credentials(
        role="participant", federation="f", login="anna", brokers=("amqps://broker.example",)
    )
    before = os.umask(0)
    try:
        run("identity", "anna")
        run("certificates", "ca", "--host", "broker.example")
        RunKeys(tmp_path).key_for("r1", 0, removals=0, is_known=False)
        credentials.write(tmp_path / "anna.credentials.json")
    finally:
        os.umask(before)
    secret = [
        tmp_path / "anna" / "identity.json",
        tmp_path / "anna.credentials.json",
        tmp_path / "run-keys.json",
        *(tmp_path / "ca").glob("*-key.pem"),
    ]
    assert len(secret) == 5, secret
    assert {path.name: oct(path.stat().st_mode & 0o777) for path in secret} == {
        path.name: "0o600" for path in secret
    }


def test_other_keys_replace_the_old_and_revoking_shuts_out(run: Run, tmp_path: Path) -> None:
    """At once, in the roster that a running coordinator reads."""
    for name in ("hub", "anna", "anna-2"):
        run("identity", name)
    run("enroll", "anna", "--identity", "anna/identity.pub", "--roster", "hub")
    run("rotate", "anna", "--identity", "anna-2/identity.pub", "--roster", "hub")
    members = read_roster(tmp_path / "hub").members
    assert members == {"anna": PublicIdentity.read(tmp_path / "anna-2")}
    run("revoke", "anna", "--roster", "hub")
    assert read_roster(tmp_path / "hub").members == {}


def test_the_audit_finds_a_changed_line_and_lines_cut_off(run: Run, tmp_path: Path) -> None:
    """The latter by the hash that was noted elsewhere."""
    for name in ("hub", "anna"):
        run("identity", name)
    run("enroll", "anna", "--identity", "anna/identity.pub", "--roster", "hub")
    run("revoke", "anna", "--roster", "hub")
    noted = run("audit", "hub").split()[-1]
    trail = tmp_path / "hub" / "audit.jsonl"
    lines = trail.read_text().splitlines(keepends=True)
    trail.write_text(lines[0])
    with pytest.raises(InvalidInputError, match="lines were cut off"):
        run("audit", "hub", "--holds", noted)
    trail.write_text(lines[0].replace("anna", "otto") + lines[1])
    with pytest.raises(InvalidInputError, match=r"line 1 of .* was changed"):
        run("audit", "hub")


def test_tls_verifies_the_broker_and_is_new_enough() -> None:
    """The certificate, the host's name, and at least TLS 1.2."""
    context = client_context()
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2


def test_compose_opens_only_the_ports_that_the_page_names() -> None:
    """The management API to the same machine, and TLS in the file for hospitals elsewhere."""
    opened: dict[str, list[str]] = {}
    for path in sorted((ROOT / "deploy").glob("compose*.yaml")):
        services = yaml.safe_load(path.read_text())["services"].values()
        ports = [port for service in services for port in service.get("ports", ())]
        if ports:
            opened[path.name] = ports
    assert opened["compose.yaml"] == ["127.0.0.1:${FANFOLD_UI_PORT:-15672}:15672"]
    assert opened["compose.public.yaml"] == ["${FANFOLD_PUBLIC_PORT:-5671}:5671"]
    elsewhere = [
        opened[name] for name in opened if name not in ("compose.yaml", "compose.public.yaml")
    ]
    assert all(port.startswith("127.0.0.1:") for ports in elsewhere for port in ports)


def test_the_page_for_others_takes_a_login_and_tls() -> None:
    """Without them it answers on the same machine alone."""
    assert PageSettings().host == "127.0.0.1"
    with pytest.raises(InvalidInputError, match="name --users and --certificate and --key"):
        PageSettings(host="page.example")


def test_nothing_imports_pickle_or_what_is_built_on_it() -> None:
    """Nor loads or saves with torch, whose own format is one."""
    forbidden = {"pickle", "cPickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}
    found = []
    for path in (ROOT / "fanfold").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names: list[str] = []
            if isinstance(node, ast.Import):
                names = [each.name for each in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            elif isinstance(node, ast.Attribute):
                names = [ast.unparse(node)]
            found += [
                (path.name, name)
                for name in names
                if name.split(".")[0] in forbidden or name in ("torch.load", "torch.save")
            ]
    assert found == []


def test_a_header_that_claims_much_is_refused_by_its_claim() -> None:
    """Twelve bytes that announce a header of four gigabytes take no memory."""
    claim = memoryview(b"WRRN" + (2**32 - 1).to_bytes(4, "little") + bytes(4))
    with pytest.raises(MalformedMessageError, match="the header has 4294967295 bytes"):
        decode(claim, kind="update", limits=ReaderLimits(max_bytes=1 << 20))


class Recorded:
    """A management API that has nothing yet, and remembers what it was told to make."""

    def __init__(self) -> None:
        self.made: dict[tuple[str, ...], Any] = {}

    def get(self, *_path: str, **_query: str) -> None:
        """Nothing is there."""

    def put(self, *path: str, body: Any = None) -> None:
        self.made[path] = body

    post = put


def test_a_login_may_configure_nothing_and_read_only_its_own_queue() -> None:
    """Anchored patterns, and limits on connections and channels as the page tells them."""
    management, names = Recorded(), FederationNames("ward")
    asked: Any = management
    enrolment = Enrolment(asked, names, brokers=("amqps://broker.example",))
    enrolment.enroll("anna")
    rights = management.made["permissions", "/", "anna"]
    assert rights["configure"] == "^$"
    assert re.search(rights["write"], names.reports_exchange)
    assert re.search(rights["read"], names.participant_queue("anna"))
    for other in (names.participant_queue("anna2"), names.participant_queue("bob")):
        assert not re.search(rights["read"], other)
    for other in (names.parameters_exchange, names.resend_exchange, names.requests_exchange):
        assert not re.search(rights["write"], other)
    limits = [body["value"] for path, body in management.made.items() if path[0] == "user-limits"]
    assert "at most {} connections and {}".format(*limits) in PAGE


def test_the_epsilons_of_the_page_are_those_that_are_counted() -> None:
    """For zero-out, and for replace-one, where the noise counts half."""
    told = [f"{epsilon(noise, 20, 1e-5):.2f}" for noise in (4.0, 2.0)]
    assert told == ["4.98", "11.48"]

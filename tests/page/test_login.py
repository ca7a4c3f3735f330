"""Who may look at the page and who may act: logins, roles, forms and pauses."""

import json
import re
import ssl
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import trustme
from run_folder import a_slow_site

from fanfold.api.reading import read
from fanfold.page import users
from fanfold.page.actions import Action
from fanfold.page.guard import local_way
from fanfold.page.queues import Queues
from fanfold.page.server import PageServer
from fanfold.page.sessions import SESSION_SECONDS, Attempts, Sessions
from fanfold.page.settings import PageSettings
from fanfold.page.users import Users, set_user
from fanfold.schemas.errors import InvalidInputError

PASSWORD = "correct horse"


class Notes:
    """Operations that note what they were asked, and refuse to stop."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, str]] = []

    def do(self, run: str, action: Action, *, who: str) -> None:
        if action == "stop":
            raise InvalidInputError("the run first is finished; only a run that is not over can be")
        self.asked.append((run, action, who))

    def queues(self, run: str) -> Queues | None:
        return None

    def revoke(self, participant: str, *, who: str) -> None:
        self.asked.append((participant, "revoke", who))


@pytest.fixture(autouse=True)
def quick_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a hash costs is no fact of these tests."""
    monkeypatch.setattr(users, "COST", 1 << 4)


@pytest.fixture
def settings(tmp_path: Path) -> PageSettings:
    path = tmp_path / "users.json"
    set_user(path, "ada", "operator", PASSWORD)
    set_user(path, "bo", "viewer", PASSWORD)
    return read(PageSettings, {"port": "0", "users": path})


Connect = Callable[[], httpx.Client]


@pytest.fixture
def notes() -> Notes:
    return Notes()


@pytest.fixture
def connect(tmp_path: Path, settings: PageSettings, notes: Notes) -> Iterator[Connect]:
    a_slow_site(tmp_path / "runs" / "first")
    with PageServer(tmp_path / "runs", settings, operations=notes) as server:
        yield lambda: httpx.Client(base_url=server.url, timeout=30)


@contextmanager
def logged_in(connect: Connect, name: str) -> Iterator[httpx.Client]:
    with connect() as client:
        answer = client.post("/login", data={"name": name, "password": PASSWORD})
        assert answer.status_code == 303
        yield client


def token(client: httpx.Client) -> str:
    found = re.search(r'name="token" value="([^"]+)"', client.get("/runs/first").text)
    assert found is not None
    return found[1]


def test_nothing_is_shown_before_the_login(connect: Connect) -> None:
    """Pages lead to it, all else is refused; what it needs itself is there."""
    with connect() as client:
        for path in ("/", "/runs/first", "/runs/first/model.safetensors", "/compare"):
            answer = client.get(path)
            assert answer.status_code == 303
            assert answer.headers["location"].startswith("/login?next=/")
        assert client.get("/runs/first/stream").status_code == 401
        assert client.post("/runs/first/do", data={"action": "pause"}).status_code == 401
        assert client.get("/login").status_code == client.get("/static/page.css").status_code == 200


def test_a_login_leads_to_where_somebody_wanted_to_go(connect: Connect) -> None:
    """By a cookie that no script reads and that other sites do not send along."""
    with connect() as client:
        form = {"name": "bo", "password": PASSWORD, "next": "/runs/first"}
        answer = client.post("/login", data=form)
        assert answer.headers["location"] == "/runs/first"
        cookie = answer.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=strict" in cookie
        assert "bo, viewer" in client.get("/runs/first").text


@pytest.mark.parametrize("way", ["//evil.example", "https://evil.example", "/\\evil.example", ""])
def test_a_login_leads_to_no_other_site(way: str) -> None:
    assert local_way(way) == "/"


def test_after_five_wrong_passwords_there_is_a_pause(connect: Connect) -> None:
    """The right one is not looked at meanwhile; another user is let in."""
    with connect() as client:
        for _ in range(5):
            answer = client.post("/login", data={"name": "ada", "password": "wrong"})
            assert answer.status_code == 401
            assert "name or password is wrong" in answer.text
        answer = client.post("/login", data={"name": "ada", "password": PASSWORD})
        assert answer.status_code == 429
        assert re.search(r"too many wrong passwords: try again in (59|60) s", answer.text)
        assert client.post("/login", data={"name": "bo", "password": PASSWORD}).status_code == 303


def test_pauses_double_and_hold_for_an_address_too() -> None:
    """By one clock; the right password ends those of its name."""
    attempts = Attempts()
    for count in range(7):
        attempts.failed("a", "ada", float(count))
    assert attempts.wait_seconds("a", "ada", 6.0) == 240
    assert attempts.wait_seconds("a", "ada", 246.0) == attempts.wait_seconds("a", "bo", 6.0) == 0
    attempts.succeeded("a", "ada")
    assert attempts.wait_seconds("a", "ada", 6.0) == 0
    for count in range(20):
        attempts.failed("b", f"user-{count}", 0.0)
    assert attempts.wait_seconds("b", "ada", 0.0) == 60
    assert attempts.wait_seconds("c", "ada", 0.0) == 0


def test_an_operator_acts_and_is_told_what_came_of_it(connect: Connect, notes: Notes) -> None:
    """Once: the sentence is gone when the page is loaded again. A refusal is told in words."""
    with logged_in(connect, "ada") as client:
        form = {"token": token(client), "action": "pause"}
        answer = client.post("/runs/first/do", data=form, follow_redirects=True)
        assert "first pauses: its version is kept" in answer.text
        assert "first pauses" not in client.get("/runs/first").text
        form["action"] = "stop"
        answer = client.post("/runs/first/do", data=form, follow_redirects=True)
        assert "only a run that is not over can be" in answer.text
        form = {"token": form["token"], "action": "revoke", "participant": "cork"}
        client.post("/runs/first/do", data=form)
    assert notes.asked == [("first", "pause", "ada"), ("cork", "revoke", "ada")]


def test_a_viewer_is_refused_what_an_operator_may(connect: Connect, notes: Notes) -> None:
    with logged_in(connect, "bo") as client:
        answer = client.post("/runs/first/do", data={"token": token(client), "action": "pause"})
        assert answer.status_code == 403
        assert "bo is a viewer: ask an operator" in answer.text
    assert notes.asked == []


def test_a_form_of_another_site_does_nothing(connect: Connect, notes: Notes) -> None:
    """Neither with a made-up token, nor from another origin with the right one."""
    with logged_in(connect, "ada") as client:
        for data in ({"action": "pause"}, {"action": "pause", "token": "0" * 43}):
            answer = client.post("/runs/first/do", data=data)
            assert answer.status_code == 403
            assert "not of this login" in answer.text
        for path in ("/runs/first/do", "/login", "/logout"):
            data = {"token": token(client), "action": "pause"}
            answer = client.post(path, data=data, headers={"origin": "https://evil.example"})
            assert answer.status_code == 403
            assert "another site asked" in answer.text
        answer = client.post("/runs/first/do", content=b"a=" + b"x" * 20_000)
        assert answer.status_code == 413
    assert notes.asked == []


def test_a_logout_ends_the_session_and_a_user_who_is_removed_is_out(
    connect: Connect, settings: PageSettings
) -> None:
    """Whoever still has the cookie."""
    with logged_in(connect, "bo") as client:
        before = client.cookies["fanfold"]
        client.post("/logout", data={"token": token(client)})
        client.cookies.set("fanfold", before)
        assert client.get("/").status_code == 303
    with logged_in(connect, "bo") as client:
        assert settings.users is not None
        left = json.loads(settings.users.read_text())
        del left["bo"]
        settings.users.write_text(json.dumps(left))
        assert client.get("/").headers["location"].startswith("/login")


def test_a_session_ends_by_the_clock() -> None:
    sessions = Sessions()
    secret = sessions.begin("ada", 0.0)
    assert sessions.get(secret, SESSION_SECONDS - 1) is not None
    assert sessions.get(secret, SESSION_SECONDS) is sessions.get("", 0.0) is None


def test_passwords_are_kept_as_hashes_in_a_file_of_its_owner(settings: PageSettings) -> None:
    assert settings.users is not None
    text = settings.users.read_text()
    assert PASSWORD not in text
    assert len({user["salt"] for user in json.loads(text).values()}) == 2
    assert stat.S_IMODE(settings.users.stat().st_mode) == 0o600
    assert Users(settings.users).check("ada", PASSWORD) == "operator"
    for name, password in (("ada", "wrong"), ("nobody", PASSWORD)):
        assert Users(settings.users).check(name, password) is None


def test_a_command_makes_users(tmp_path: Path) -> None:
    """The password comes from a pipe here; a short one is refused in words."""
    path = tmp_path / "users.json"
    command = [sys.executable, "-m", "fanfold", "page-user", "ada", f"--users={path}"]
    made = subprocess.run(
        [*command, "--role=operator"], input=f"{PASSWORD}\n", text=True, check=True,
        stdout=subprocess.PIPE,
    )  # fmt: skip
    assert made.stdout == f"ada is a user of {path}: operator\n"
    assert json.loads(path.read_text())["ada"]["role"] == "operator"
    short = subprocess.run(command, input="123\n", text=True, check=False, stderr=subprocess.PIPE)
    assert short.returncode == 2
    assert "a password has 10 to 1024 characters, and this one has 3" in short.stderr


@pytest.mark.parametrize("host", ["10.0.0.5", "2001:db8::7", "page.example"])
def test_others_reach_the_page_by_tls_and_login_alone(host: str, settings: PageSettings) -> None:
    """The sentence names what is missing."""
    with pytest.raises(
        InvalidInputError,
        match=rf"^--host: --host {re.escape(host)} lets other|--users and --certificate and --key",
    ):
        read(PageSettings, {"host": host})
    with pytest.raises(InvalidInputError, match="name --certificate and --key, or leave --host"):
        read(PageSettings, {"host": host, "users": settings.users})
    with pytest.raises(InvalidInputError, match="--certificate and --key belong together"):
        read(PageSettings, {"certificate": "a.pem"})


def test_with_a_certificate_the_page_is_served_by_tls(
    tmp_path: Path, settings: PageSettings
) -> None:
    """And the cookie travels by TLS alone. Files that do not belong together are told."""
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    certificate, key = tmp_path / "page.pem", tmp_path / "page.key"
    issued.cert_chain_pems[0].write_to_path(certificate)
    issued.private_key_pem.write_to_path(key)
    context = ssl.create_default_context()
    authority.configure_trust(context)
    files = {"certificate": certificate, "key": key}
    with (
        PageServer(tmp_path, settings.model_copy(update=files)) as server,
        httpx.Client(base_url=server.url, verify=context) as client,
    ):
        assert server.url.startswith("https://")
        answer = client.post("/login", data={"name": "bo", "password": PASSWORD})
        assert "Secure" in answer.headers["set-cookie"]
    with pytest.raises(InvalidInputError, match=r"^--certificate .* cannot be used"):
        PageServer(tmp_path, settings.model_copy(update=files | {"key": tmp_path / "none"}))

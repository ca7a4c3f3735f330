"""What the page answers over HTTP."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from run_folder import a_slow_site

from fanfold.page.server import PageServer
from fanfold.page.settings import PageSettings
from fanfold.schemas.errors import InvalidInputError


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """A folder of two runs."""
    a_slow_site(tmp_path / "first")
    a_slow_site(tmp_path / "more" / "second")
    (tmp_path / "first" / "model.safetensors").write_bytes(b"a model")
    (tmp_path / "secret.txt").write_text("not for you")
    return tmp_path


@pytest.fixture
def page(runs: Path) -> Iterator[httpx.Client]:
    with (
        PageServer(runs, PageSettings(port=0)) as server,
        httpx.Client(base_url=server.url, timeout=30) as client,
    ):
        yield client


def frames(client: httpx.Client, run: str, many: int) -> list[dict[str, Any]]:
    found = []
    with client.stream("GET", f"/runs/{run}/stream") as answer:
        for line in answer.iter_lines():
            if line.startswith("data: "):
                found.append(json.loads(line.removeprefix("data: ")))
            if len(found) == many:
                return found
    return found


def test_the_first_page_lists_the_runs(page: httpx.Client) -> None:
    """By their way from the folder, with state, rounds and newest metric."""
    text = page.get("/").text

    for each in ('href="/runs/first"', 'href="/runs/more/second"', "2 of 20", "accuracy 0.6000"):
        assert each in text


def test_a_single_run_is_shown_at_once(tmp_path: Path) -> None:
    a_slow_site(tmp_path / "alone")
    with PageServer(tmp_path / "alone", PageSettings(port=0)) as server:
        answer = httpx.get(server.url, follow_redirects=True)
    assert answer.url.path == "/runs/alone"


def test_a_stream_begins_with_everything_and_goes_on_with_what_changes(
    page: httpx.Client, runs: Path
) -> None:
    """A new event comes within a second of its line."""
    with page.stream("GET", "/runs/first/stream") as answer:
        lines = (
            json.loads(line.removeprefix("data: "))
            for line in answer.iter_lines()
            if line.startswith("data: ")
        )
        first = next(lines)
        with (runs / "first" / "events.jsonl").open("a") as file:
            told = {"event": "participant_joined", "time": "2026-03-01T12:01:00.000Z"}
            file.write(json.dumps(told | {"participant": "emden"}) + "\n")
        second = next(lines)

    assert first["is_new"]
    assert [each["name"] for each in first["people"]] == ["aarhus", "bergen", "cork", "dresden"]
    assert first["people"][1]["words"].endswith("refused: norm 9 is above --max-update-norm 5")
    assert not second["is_new"]
    assert [each["name"] for each in second["people"]] == ["emden"]
    assert second["spans"].keys() == {"emden"}
    assert [each[2] for each in second["notes"]] == ["emden has joined"]


def test_what_participants_say_of_themselves_is_text(page: httpx.Client, runs: Path) -> None:
    """A reason that is HTML is shown, and not obeyed."""
    record = {"event": "round", "round": 9, "updates": [], "refused": {"<img src=x>": 1}}
    with (runs / "first" / "history.jsonl").open("a") as file:
        file.write(json.dumps(record) + "\n")
    counts = frames(page, "first", 1)[0]["sections"]["counts"]
    assert "&lt;img src=x&gt;" in counts


def test_a_model_can_be_taken_away_and_nothing_else(page: httpx.Client) -> None:
    """No other file of the folder, however its name is written."""
    answer = page.get("/runs/first/model.safetensors")
    assert answer.content == b"a model"
    assert 'filename="first-model.safetensors"' in answer.headers["content-disposition"]
    assert page.get("/runs/first/best.safetensors").status_code == 404
    for name in ("first/history.jsonl", "..%2Fsecret.txt", "../secret.txt", "first/..%2f..", "%00"):
        assert page.get(f"/runs/{name}").status_code == 404
    assert page.get("/static/..%2f..%2fapp.py").status_code == 404


def test_runs_are_laid_over_each_other(page: httpx.Client) -> None:
    """One chart for each metric, with a line for each run; too few or too many are refused."""
    text = page.get("/compare", params={"run": ["first", "more/second"]}).text
    assert text.count("<li style=") == 2
    answer = page.get("/compare")
    assert answer.status_code == 400
    assert "choose the runs to compare" in answer.text
    assert "at most 8 runs" in page.get("/compare", params={"run": [*"abcdefghi"]}).text


def test_every_answer_forbids_what_comes_from_elsewhere(page: httpx.Client) -> None:
    for path in ("/", "/runs/first", "/static/run.js", "/nothing", "/compare"):
        headers = page.get(path).headers
        assert headers["content-security-policy"].startswith(
            "default-src 'none'; script-src 'self'"
        )
        assert headers["x-content-type-options"] == "nosniff"


def test_the_page_answers_under_its_own_names_alone(page: httpx.Client) -> None:
    """Another site cannot have a visitor's browser read it under a name that leads here."""
    answer = page.get("/", headers={"host": "evil.example:80"})
    assert answer.status_code == 421
    assert answer.text == "this page answers as 127.0.0.1, [::1], localhost alone\n"
    port = page.base_url.port
    assert page.get("/health", headers={"host": f"localhost:{port}"}).text == "alive\n"


def test_a_port_in_use_is_one_sentence(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(InvalidInputError, match=rf"^--port {port} cannot be used .*or 0 for"):
            PageServer(tmp_path, PageSettings(port=port))


def test_the_command_tells_the_address_and_ends_with_ctrl_c(runs: Path) -> None:
    """With the exit code of Ctrl-C, while a browser looks."""
    command = [sys.executable, "-m", "fanfold", "page", str(runs), "--port=0", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        told = json.loads(process.stdout.readline())
        assert told["event"] == "page_served"
        with httpx.stream("GET", f"{told['url']}runs/first/stream", timeout=30) as answer:
            next(answer.iter_lines())
            os.kill(process.pid, signal.SIGINT)
            assert process.wait(30) == 130


def test_kept_versions_are_offered_and_sent(page: httpx.Client, runs: Path) -> None:
    """The newest first, as they come to be; nothing else of the folder."""
    folder = runs / "first" / "versions"
    folder.mkdir()
    for version in (9, 10):
        (folder / f"{version}.safetensors").write_bytes(b"a version")
    (folder / "11.uncommitted").write_bytes(b"not yet")
    models = frames(page, "first", 1)[0]["sections"]["models"]
    assert models.index("versions/10.safetensors") < models.index("versions/9.safetensors")
    assert "11" not in models
    assert page.get("/runs/first/versions/9.safetensors").content == b"a version"
    assert page.get("/runs/first/versions/11.safetensors").status_code == 404
    assert page.get("/runs/first/versions/11.uncommitted").status_code == 404


def test_a_folder_without_a_run_says_what_the_page_waits_for(tmp_path: Path) -> None:
    """At the terminal and on the page."""
    command = [sys.executable, "-m", "fanfold", "page", str(tmp_path), "--port=0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        served, waits = process.stdout.readline(), process.stdout.readline()
        url = next(word for word in served.split() if word.startswith("http"))
        text = httpx.get(url, timeout=30).text
        os.kill(process.pid, signal.SIGINT)
        assert process.wait(30) == 130

    words = "yet, nor in a folder below"
    assert f" no run is in {tmp_path} {words}: the page shows one as soon as" in waits
    assert f"No run is in <code>{tmp_path}</code> {words}" in text


def test_a_folder_that_is_none_is_one_sentence(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "fanfold", "page", str(tmp_path / "typo")]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert result.stderr.endswith(
        "/typo is no folder; name the one that a run was given as --out, or one above it\n"
    )

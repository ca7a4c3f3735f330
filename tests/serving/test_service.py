"""Facts about `fanfold serve` as people meet it: processes, a broker, and commands."""

import json
import os
import signal
from typing import Any
from urllib.parse import urlsplit

import pytest
from nodes import BrokerNode
from safetensors.torch import load_file

from fanfold.access.credentials import Role
from fanfold.access.enrolment import Enrolment
from fanfold.access.management import ManagementClient
from fanfold.schemas.names import FederationNames
from fanfold.schemas.tensor_codec import parameters_sha256
from tests.serving.served import TASK


@pytest.mark.slow
def test_a_run_is_submitted_trained_shown_and_pulled(served: Any) -> None:
    """With the participants that are there, in the order of priority, and the next from the best.

    A third generation knows its ancestors.
    """
    served.serve()
    served.participant(0, 1)
    served.submit("first", "--rounds=3", "--lr=0.1")
    served.submit("later", "--rounds=1")
    served.submit("sooner", "--rounds=2", "--priority=5")
    served.wait_for_state("later", "finished")
    opened = {run: served.record(run)["opened_at"] for run in ("first", "sooner", "later")}
    assert list(opened) == sorted(opened, key=lambda run: opened[run])

    shown = served.state("first")
    assert (shown["state"], shown["version"], shown["settings"]["rounds"]) == ("finished", 3, 3)
    assert [(each["participant"], each["updates"]) for each in shown["participants"]] == [("p0", 3)]
    assert len(shown["task_sha256"]) == 64
    out = served.folder / "first.safetensors"
    (card,) = served.ask("pull", "first", f"--out={out}")
    digest = parameters_sha256(load_file(out))
    assert digest == card["parameters_sha256"] == shown["parameters_sha256"]
    assert json.loads(out.with_suffix(".json").read_text())["version"] == 3
    assert "# Model card: first, version 3" in out.with_suffix(".md").read_text()

    served.submit("child", "--from=first@last", "--rounds=1")
    served.wait_for_state("child", "finished")
    served.submit("grandchild", "--from=child", "--rounds=1")
    served.wait_for_state("grandchild", "finished")
    lineage = [(each["run"], each["version"]) for each in served.state("grandchild")["lineage"]]
    assert lineage == [("child", 1), ("first", 3)]
    (comparison,) = served.ask("compare", "first", "child")
    assert comparison["settings"]["rounds"] == [3, 1]
    assert comparison["facts"]["begins_from"] == [None, "first@3"]

    served.ask("remove", "first")
    assert [each["run"] for each in served.ask("runs")] == [
        "later",
        "sooner",
        "child",
        "grandchild",
    ]
    assert served.try_to("show", "first")[0] == 2


@pytest.mark.slow
def test_a_run_waits_goes_on_and_ends_as_it_is_told(served: Any) -> None:
    """Also one that waits for its turn; what it has learned becomes its model."""
    served.serve()
    served.participant(0, 1)
    served.submit("long", "--rounds=100000")
    served.submit("waiting", "--rounds=1")
    served.wait_for_version("long", 2)
    served.ask("close-round", "long")
    (paused,) = served.ask("pause", "long")
    assert (paused["state"], paused["reason"]) == ("paused", "paused by fanfold")
    served.wait_for_state("waiting", "finished")  # its turn has come
    before = served.state("long")["version"]
    served.ask("go-on", "long")
    served.wait_for_version("long", before + 2)
    code, said = served.try_to("remove", "long")
    assert (code, "the run long is open; stop or pause it first" in said) == (2, True)
    served.ask("stop", "long")
    stopped = served.wait_for_state("long", "stopped")
    assert stopped["reason"] == "stopped by fanfold"
    out = served.folder / "long.safetensors"
    served.ask("pull", "long", f"--out={out}")
    assert parameters_sha256(load_file(out)) == stopped["parameters_sha256"]


@pytest.mark.slow
def test_any_version_that_is_kept_is_pulled_and_begun_from(served: Any) -> None:
    """Also in a run that is open, and after its coordinator was killed."""
    served.serve()
    served.participant(0, 1)
    served.submit("kept", "--rounds=100000", "--keep-versions=every:2")
    served.wait_for_version("kept", 4)
    os.kill(served.coordinators()["kept"], signal.SIGKILL)
    served.wait_for_version("kept", 7)
    out = served.folder / "two.safetensors"
    (card,) = served.ask("pull", "kept", "--version=2", f"--out={out}")
    assert (card["version"], card["rounds"]) == (2, 2)
    assert parameters_sha256(load_file(out)) == card["parameters_sha256"]
    code, said = served.try_to("pull", "kept", "--version=3", f"--out={out}")
    assert (code, "keeps no model of version 3: it has" in said) == (2, True)
    assert "--keep-versions" in said
    kept = {each["version"]: each for each in served.state("kept")["kept_versions"]}
    assert {2, 4, 6} <= kept.keys()
    assert not any(version % 2 for version in kept)

    served.submit("child", "--from=kept@2", "--rounds=1")
    served.ask("stop", "kept")
    served.wait_for_state("child", "finished")
    parent = served.record("child")["parent"]
    assert parent == {"run": "kept", "version": 2, "parameters_sha256": card["parameters_sha256"]}


@pytest.mark.slow
def test_a_participant_that_does_not_allow_a_task_is_heard_by_who_submitted_it(served: Any) -> None:
    served.serve()
    served.participant(0, 1, "--allow=digits")
    served.submit("first", "--rounds=1")
    served.wait_for(lambda: served.record("first")["declined"])
    assert "is not allowed here" in served.state("first")["declined"]["p0"]


@pytest.mark.slow
def test_a_mistake_is_told_at_once_or_becomes_the_reason_why_the_run_failed(served: Any) -> None:
    served.serve()
    code, said = served.try_to("submit", "--rounds=some")
    assert (code, "--rounds 'some' must be" in said) == (2, True)
    served.ask("submit", "--name=nobody", "--task=no.such.module:Task")
    failed = served.wait_for_state("nobody", "failed")
    assert "no.such" in failed["reason"]
    code, said = served.try_to("submit", "--name=nobody")
    assert (code, "there is a run nobody already; choose another --name" in said) == (2, True)
    code, said = served.try_to("submit", "--from=nobody@best")
    assert (code, "the run nobody has no model 'best': none so far" in said) == (2, True)


@pytest.mark.slow
def test_a_service_that_is_killed_leaves_no_coordinator_and_goes_on(served: Any) -> None:
    """The orphan ends by itself; queue, registry and the open run are what they were."""
    served.serve()
    served.participant(0, 1)
    served.submit("open", "--rounds=100000")
    served.submit("queued", "--rounds=2")
    served.wait_for_version("open", 2)
    served.kill("serve")
    served.wait_for(lambda: not served.coordinators())
    assert (served.record("open")["state"], served.record("queued")["state"]) == ("open", "queued")
    version = len((served.registry / "runs/open/history.jsonl").read_text().splitlines())
    served.again("serve")
    served.wait_for(
        lambda: (
            len((served.registry / "runs/open/history.jsonl").read_text().splitlines())
            > version + 4
        )
    )
    os.kill(served.coordinators()["open"], signal.SIGKILL)  # and a child of its own
    served.ask("stop", "open")
    served.wait_for_state("open", "stopped")
    served.wait_for_state("queued", "finished")


@pytest.mark.slow
def test_only_an_operator_can_ask_and_a_participant_is_refused_by_the_broker(
    served: Any, broker_node: BrokerNode
) -> None:
    """With the real logins that `fanfold enroll` makes; the same file serves every command."""
    served.serve()
    vhost = urlsplit(served.url).path.removeprefix("/")
    login = f"//{broker_node.user}:{broker_node.password}@"
    enrolment = Enrolment(
        ManagementClient(str(broker_node.management_url).replace("//", login)),
        FederationNames(served.name),
        vhost=vhost,
        brokers=(f"amqp://127.0.0.1:{urlsplit(broker_node.url).port}/{vhost}",),
    )
    name = served.name[-8:]
    files = {}
    roles: tuple[Role, ...] = ("operator", "participant")
    for role in roles:
        files[role] = served.folder / f"{role}.json"
        made = enrolment.enroll(f"{role}-{name}", role)
        (url,) = made.options({})["broker"]
        made.write(files[role])
        code, said = served.try_to("submit", f"--task={TASK}", f"--name={role}", url=url)
        if role == "operator":
            assert (code, json.loads(said)["submitted_by"]) == (0, f"operator-{name}")
            continue
        for command in (
            ["submit", f"--task={TASK}"],
            ["stop", "operator"],
            ["pull", "operator", f"--out={served.folder / 'stolen.safetensors'}"],
            ["runs"],
        ):
            code, said = served.try_to(*command, url=url)
            assert (code, "this login is no operator of the federation" in said) == (2, True), said
    assert served.record("operator")["state"] == "open"
    (told,) = served.ask("runs", f"--credentials={files['operator']}")
    assert told["run"] == "operator"
    code, said = served.try_to("runs", f"--credentials={files['participant']}")
    assert (code, "is for `fanfold participant`" in said) == (2, True)
    for role in files:
        enrolment.revoke(f"{role}-{name}")

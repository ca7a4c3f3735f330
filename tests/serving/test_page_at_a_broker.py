"""The page of a service beside a real management API: it shows queues, and revokes."""

import json
import re
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from nodes import BrokerNode

from fanfold.access.enrolment import Enrolment
from fanfold.access.management import ManagementClient
from fanfold.page.users import set_user
from fanfold.schemas.names import FederationNames
from tests.access.enrolled import with_login

PASSWORD = "a good password"
LOGIN = "site-that-goes"


@pytest.mark.slow
def test_queues_are_shown_and_a_participant_is_revoked(
    served: Any, broker_node: BrokerNode, broker_url: str
) -> None:
    """Its login and its queue are gone, and it is refused; the run goes on without it."""
    url = with_login(broker_node, f"{broker_node.user}:{broker_node.password}")
    api = ManagementClient(url)
    vhost, port = urlsplit(broker_url).path[1:], urlsplit(broker_url).port
    names = FederationNames(served.name)
    enrolment = Enrolment(api, names, vhost=vhost, brokers=(f"amqp://127.0.0.1:{port}/{vhost}",))
    (own,) = enrolment.enroll(LOGIN).options({})["broker"]
    users = served.folder / "users.json"
    set_user(users, "ada", "operator", PASSWORD)
    served.serve("--page-port=0", f"--page-users={users}", f"--page-management={url}")
    served.participant(0, 2, f"--broker={own}", name=LOGIN)
    served.participant(1, 2)
    served.submit("first", "--rounds=100000", "--min-participants=2", "--deadline-seconds=5")
    served.wait_for_version("first", 2)

    with httpx.Client(base_url=page_of(served), follow_redirects=True, timeout=30) as page:
        page.post("/login", data={"name": "ada", "password": PASSWORD})
        shown = queues_on(page)
        assert "updates for the coordinator" in shown
        assert "versions for 2 participants" in shown
        form = {"token": token(page), "action": "revoke", "participant": LOGIN}
        answer = page.post("/runs/first/do", data=form)
    assert f"{LOGIN} is revoked: its login is gone" in answer.text
    assert api.get("users", LOGIN) is None
    run = FederationNames(served.name, run="first")
    served.wait_for(lambda: api.get("queues", vhost, run.participant_queue(LOGIN)) is None)
    log = served.folder / f"{LOGIN}.log"
    served.wait_for(lambda: "the broker refuses this login" in log.read_text())
    assert served.stop(LOGIN) == 0  # who tries to come back ends in order nevertheless
    version = served.state("first")["version"]
    served.wait_for_version("first", version + 2)


def queues_on(page: httpx.Client) -> str:
    """What the stream tells of the broker's queues, once it knows."""
    with page.stream("GET", "/runs/first/stream") as answer:
        for line in answer.iter_lines():
            if line.startswith("data: "):
                sections = json.loads(line.removeprefix("data: "))["sections"]
                if "participants" in sections.get("queues", ""):
                    return str(sections["queues"])
    raise AssertionError("the stream ended")


def page_of(served: Any) -> str:
    """The page's address."""
    log = served.folder / "serve.log"
    line = next(each for each in log.read_text().splitlines() if '"page_served"' in each)
    return str(json.loads(line)["url"])


def token(page: httpx.Client) -> str:
    """The token against forms of other sites."""
    found = re.search(r'name="token" value="([^"]*)"', page.get("/runs/first").text)
    assert found is not None
    return found[1]

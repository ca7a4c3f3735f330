"""A federation on a real broker with logins that were enrolled."""

from urllib.parse import urlsplit

import pika
from nodes import BrokerNode

from fanfold.access.enrolment import Enrolment
from fanfold.access.management import ManagementClient
from fanfold.schemas.names import FederationNames


def with_login(node: BrokerNode, login: str) -> str:
    """The node's management address with a login in it."""
    return str(node.management_url).replace("//", f"//{login}@")


KEEPER, KEEPER_LOGIN = "00112233aabbccdd", "keeper-of-ward"
"""Name of its keys, and its login."""


class Place:
    """A federation in a vhost of its own, with alice, bob and a coordinator enrolled."""

    def __init__(self, node: BrokerNode, vhost: str, federation: str) -> None:
        self.node, self.vhost = node, vhost
        self.names = FederationNames(federation)
        self.management = ManagementClient(with_login(node, f"{node.user}:{node.password}"))
        port = urlsplit(node.url).port
        self.enrolment = Enrolment(
            self.management,
            self.names,
            vhost=vhost,
            brokers=(f"amqp://127.0.0.1:{port}/{vhost}",),
        )
        suffix = federation[-6:]
        self.alice, self.bob, self.chief = f"alice-{suffix}", f"bob-{suffix}", f"chief-{suffix}"
        self.credentials = {
            self.alice: self.enrolment.enroll(self.alice),
            self.bob: self.enrolment.enroll(self.bob),
            self.chief: self.enrolment.enroll(self.chief, "coordinator"),
            KEEPER_LOGIN: self.enrolment.enroll(KEEPER_LOGIN, "keeper", keeper=KEEPER),
        }

    def url(self, login: str) -> str:
        """The address with the login in it."""
        (url,) = self.credentials[login].options({})["broker"]
        return str(url)

    def connect(self, login: str) -> pika.BlockingConnection:
        return pika.BlockingConnection(pika.URLParameters(self.url(login)))

    def close(self) -> None:
        for login in self.credentials:
            self.management.delete("users", login)

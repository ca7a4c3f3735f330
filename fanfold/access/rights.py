"""What a broker login of each role may do: three patterns over names, and limits.

A participant may configure nothing, write to the federation's reports exchange, and read its own
queue; likewise in every run that a resident coordinator opens in the federation.
`docs/security.md` says what that leaves open.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from fanfold.access.credentials import Role
from fanfold.schemas.names import FederationNames
from fanfold.schemas.run_messages import MAX_OPEN_RUNS

PARTICIPANT_LIMITS = {
    "max-connections": 4 + 2 * MAX_OPEN_RUNS,
    "max-channels": 16 + 8 * MAX_OPEN_RUNS,
}
"""A participant has two connections, two more for each run of a resident coordinator, and may
reconnect before the broker closes the old ones.
"""
COORDINATOR_LIMITS = {
    "max-connections": 8 + 4 * MAX_OPEN_RUNS,
    "max-channels": 32 + 16 * MAX_OPEN_RUNS,
}
"""Likewise; a coordinator has three connections."""
OPERATOR_LIMITS = {"max-connections": 8, "max-channels": 32}
"""An operator has one connection for each command that runs."""
KEEPER_LIMITS = {"max-connections": 4, "max-channels": 16}
"""A keeper has two connections, and may reconnect before the broker closes the old ones."""
_NOTHING = "^$"
_RUN = r"(\.run\.[A-Za-z0-9_-]+)?"
"""Follows a federation's name in a pattern, for the names of its runs."""


@dataclass(frozen=True, slots=True)
class Rights:
    """Of one login in the federation's vhost.

    Attributes:
        permissions: patterns by `configure`, `write` and `read`.
        limits: of connections and channels.
        reads: a queue that no other login of the federation may read; None for a coordinator, which
            reads everything, and an operator, whose queues have names of the moment.
    """

    permissions: Mapping[str, str]
    limits: Mapping[str, int]
    reads: str | None = None

    def is_like(self, permissions: Mapping[str, str]) -> bool:
        """Whether these permissions, perhaps of an earlier release, are for the same thing."""
        return permissions.get("configure") == self.permissions["configure"] and (
            self.reads is None or re.search(permissions["read"], self.reads) is not None
        )


def rights_of(role: Role, names: FederationNames, owner: str, keeper: str = "") -> Rights:
    """Return the rights of a role.

    Args:
        role: of the login.
        names: of the federation.
        owner: whose login it is.
        keeper: `PublicIdentity.name` of a keeper's keys, which names its queue.
    """
    reports = here_and_in_runs(names, names.reports_exchange)
    match role:
        case "participant":
            own = names.participant_queue(owner)
            return Rights(
                _patterns(_NOTHING, reports, here_and_in_runs(names, own)), PARTICIPANT_LIMITS, own
            )
        case "keeper":
            own = names.keeper_queue(keeper)
            return Rights(
                _patterns(_NOTHING, reports, here_and_in_runs(names, own)), KEEPER_LIMITS, own
            )
        case "coordinator":
            everything = f"^{re.escape(names.federation)}\\..*$"
            return Rights(_patterns(everything, everything, everything), COORDINATOR_LIMITS)
        case "operator":
            own = re.escape(names.operator_queue(owner, "x").removesuffix("x")) + "[0-9a-f]+"
            return Rights(
                _patterns(
                    f"^{own}$",
                    f"^({re.escape(names.requests_exchange)}|{own})$",
                    f"^({re.escape(names.answers_exchange)}|{own})$",
                ),
                OPERATOR_LIMITS,
            )


def here_and_in_runs(names: FederationNames, name: str) -> str:
    """Return a pattern for a name of the federation, and that of each of its runs.

    RabbitMQ's patterns are not anchored, and a dot is any character.
    """
    federation = names.federation
    return f"^{re.escape(federation)}{_RUN}{re.escape(name.removeprefix(federation))}$"


def _patterns(configure: str, write: str, read: str) -> dict[str, str]:
    return {"configure": configure, "write": write, "read": read}

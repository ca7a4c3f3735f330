"""Who sent a message: the broker's word for it, and not the sender's.

RabbitMQ refuses a message whose `user_id` is not the login of its connection, and lets one without
a `user_id` pass. So the property is demanded here, and a participant's name is believed only if
it is that login. The one exception is a login that participants share on purpose: whoever knows
its password may take part under any id.
"""

from collections.abc import Set as AbstractSet

from fanfold.coordinator.aggregation.refusals import Reason, Refusal


class SenderCheck:
    """Holds names against logins. Stateless, any thread."""

    def __init__(self, shared_logins: AbstractSet[str] = frozenset()) -> None:
        """Let the holders of `shared_logins` speak under any name."""
        self._shared_logins = frozenset(shared_logins)

    def refusal(self, login: str | None, participant: str | None) -> Refusal | None:
        """Say why a message from `login` may not speak for `participant`; None means it may."""
        if login is None:
            return Refusal(Reason.WRONG_SENDER, "the message does not name its login (user_id)")
        if login == participant or login in self._shared_logins:
            return None
        return Refusal(
            Reason.WRONG_SENDER, f"the login {login[:64]!r} may not speak for {participant!r}"
        )

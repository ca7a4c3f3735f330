"""The sender of a message, as the broker has checked it.

RabbitMQ refuses a message whose `user_id` is not the login of its connection, but accepts one
without a `user_id`. So the property is required here, and a participant's id is accepted only if it
is that login. The one exception is a login that participants share on purpose: everybody who knows
its password may take part under any id.
"""

from collections.abc import Set as AbstractSet

from fanfold.coordinator.aggregation.refusals import Reason, Refusal
from fanfold.schemas.border import IN_CLEAR, Border
from fanfold.schemas.chunk_header import ChunkHeader
from fanfold.schemas.names import owner_of


class SenderCheck:
    """Compares participants' ids with logins, and asks the border whose signature it is."""

    def __init__(
        self, shared_logins: AbstractSet[str] = frozenset(), border: Border = IN_CLEAR
    ) -> None:
        """Accept any participant's id from `shared_logins`, if the border believes it.

        As everywhere behind the transport, all logins of one owner are one.
        """
        self._shared_logins = frozenset(map(owner_of, shared_logins))
        self.border = border

    def forgery(self, header: ChunkHeader) -> Refusal | None:
        """Return why a message is not believed to be of who it names; None if it is."""
        problem = self.border.problem(header)
        return None if problem is None else Refusal(Reason.WRONG_SENDER, problem)

    def refusal(self, login: str | None, participant: str | None) -> Refusal | None:
        """Return why `login` may not send messages of `participant`; None if it may."""
        if login is None:
            return Refusal(Reason.WRONG_SENDER, "the message does not name its login (user_id)")
        if login == participant or login in self._shared_logins:
            return None
        return Refusal(
            Reason.WRONG_SENDER, f"the login {login[:64]!r} may not speak for {participant!r}"
        )

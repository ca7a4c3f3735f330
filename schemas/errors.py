"""All errors that Fanfold raises on purpose, in one hierarchy.

Exceptions are for what should not happen. Expected refusals of an update (stale, duplicate, from
another run) are return values with a reason, defined in the coordinator.
"""


class FanfoldError(Exception):
    """Base of all errors that Fanfold raises on purpose."""


class InvalidInputError(FanfoldError):
    """Raised when what the user gave (an option, a file, a task) cannot be used.

    The message is one sentence that says what is wrong and what to do. The command line exits
    with 2.
    """


def how_to_install(extra: str) -> str:
    """Return the end of a sentence that misses the packages of an extra, such as `page`."""
    return f"pip install -e '.[{extra}]' in the checkout, or 'FILE.whl[{extra}]'"


class StoppedError(FanfoldError):
    """Raised when a run was stopped, by a signal, before its last round."""


class FederationFailedError(FanfoldError):
    """Raised when a federation on this machine ended by itself before its last round."""


class MalformedMessageError(FanfoldError):
    """Raised when bytes from the network are no message of the protocol, or exceed the limits."""


class UnsupportedProtocolError(MalformedMessageError):
    """Raised when a message has another protocol number than this program."""

    def __init__(self, theirs: object, ours: int) -> None:
        super().__init__(
            f"the message speaks protocol {theirs!r}, this program speaks protocol {ours}; "
            "run the same release of Fanfold at both ends"
        )
        self.theirs = theirs
        self.ours = ours


class UnsupportedDtypeError(InvalidInputError):
    """Raised when a tensor of the task's network has a dtype that the protocol cannot represent."""


class TransportError(FanfoldError):
    """Base of the errors that `transport` raises: the broker cannot do what was asked."""


class BrokerUnreachableError(TransportError):
    """Raised when no broker of the list accepts a connection within the time given."""


class LoginRefusedError(TransportError):
    """Raised when the broker refuses the user name, the password or the virtual host."""


class InsecureBrokerError(TransportError):
    """Raised when there is no trusted TLS with the broker.

    Its certificate is not trusted, or is for another host, or only one side uses TLS.
    """


class ConnectionLostError(TransportError):
    """Raised when the connection ends while a call waits for the broker's answer."""


ACCESS_REFUSED, NOT_FOUND, RESOURCE_LOCKED, PRECONDITION_FAILED = 403, 404, 405, 406
"""AMQP reply codes: no permission, not found, locked by another connection, exists but differs."""


class RefusedByBrokerError(TransportError):
    """Raised when the broker closes a channel over what was asked.

    Attributes:
        code: AMQP reply code, one of those above.
        text: the broker's own words.
    """

    def __init__(self, code: int, text: str) -> None:
        super().__init__(f"the broker refused: {code} {text}")
        self.code = code
        self.text = text


class MessageTooLargeError(RefusedByBrokerError):
    """Raised when one message has more bytes than the broker accepts: chunks must be smaller."""

    def __init__(self, code: int, text: str, num_bytes: int) -> None:
        super().__init__(code, text)
        sentence = (
            f"the broker takes no message of {num_bytes} bytes ({code} {text}); choose a smaller "
            "--chunk-bytes, or raise max_message_size in its rabbitmq.conf"
        )
        self.args = (sentence,)
        self.num_bytes = num_bytes


class QueueDownError(TransportError):
    """Raised when a queue is on a node of the cluster that is down; it returns with the node."""

    def __init__(self, queue: str) -> None:
        super().__init__(f"the queue {queue} lies on a broker node that is down")
        self.queue = queue


class UnroutableError(TransportError):
    """Raised when a mandatory message found no queue."""


class QueueFullError(TransportError):
    """Raised when the queue refuses more messages (its disk budget is used up)."""


class PublishCancelledError(TransportError):
    """Raised when another thread gave up a publish; some of its messages may have arrived."""


class ConnectionClosedError(TransportError):
    """Raised when a connection is used after it was closed."""

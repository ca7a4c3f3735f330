"""Translates pika's errors to ours, in one table."""

import ssl
import struct
from typing import Final

from pika import exceptions as pika_errors

from fanfold.schemas.errors import (
    BrokerUnreachableError,
    ConnectionLostError,
    InsecureBrokerError,
    LoginRefusedError,
    RefusedByBrokerError,
    TransportError,
)

# The first line that fits counts, so special cases come before general ones.
_TABLE: Final[tuple[tuple[type[BaseException], type[TransportError]], ...]] = (
    (pika_errors.ProbableAuthenticationError, LoginRefusedError),
    (pika_errors.ProbableAccessDeniedError, LoginRefusedError),
    (pika_errors.AuthenticationError, LoginRefusedError),
    (pika_errors.ConnectionClosed, ConnectionLostError),
    (pika_errors.StreamLostError, ConnectionLostError),
    (pika_errors.AMQPHeartbeatTimeout, ConnectionLostError),
    (pika_errors.ConnectionWrongStateError, ConnectionLostError),
    (pika_errors.AMQPConnectionError, BrokerUnreachableError),
    (OSError, BrokerUnreachableError),
)

# Reply codes with which a broker ends the connection over what we sent: sending it again on the
# next connection would end that one too. 320 (forced) and 541 (internal) are not caused by us.
_OUR_FAULT: Final = frozenset({501, 502, 503, 504, 505, 506, 530, 540})

# What pika raises for a name or a header that it cannot write, or when no channel is free.
UNSENDABLE: Final = (pika_errors.AMQPError, TypeError, ValueError, struct.error)

_LOGIN_REFUSED: Final = (
    pika_errors.ProbableAuthenticationError,
    pika_errors.ProbableAccessDeniedError,
)
_QUOTES: Final = "'\""
_NOT_TLS: Final = frozenset({"WRONG_VERSION_NUMBER", "PACKET_LENGTH_TOO_LONG", "HTTP_REQUEST"})


def translate(error: BaseException) -> TransportError:
    """Return our error for one of pika's."""
    if isinstance(error, pika_errors.ChannelClosedByBroker):
        return RefusedByBrokerError(error.reply_code, error.reply_text)
    cause = _innermost(error)
    if isinstance(cause, ssl.SSLError):
        return InsecureBrokerError(_about_tls(cause))
    for theirs, ours in _TABLE:
        if isinstance(error, theirs):
            return ours(describe(error))
    return TransportError(describe(error))


def describe(error: BaseException) -> str:
    """Return the broker's or the system's own words, without pika's nesting around them."""
    if isinstance(error, pika_errors.ConnectionClosed | pika_errors.ChannelClosed):
        return f"{error.reply_code} {error.reply_text}"
    if isinstance(error, pika_errors.IncompatibleProtocolError):
        return "the connection ended before AMQP began; if this port speaks TLS, use amqps://"
    if isinstance(error, _LOGIN_REFUSED):
        return _about_login(error)
    cause = _innermost(error)
    if cause is not error:
        return describe(cause)
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error.args[0]) if error.args else type(error).__name__


def _innermost(error: BaseException) -> BaseException:
    """Return the cause inside pika's error, which wraps every attempt and the step that failed."""
    candidates = (
        *(getattr(error, "exceptions", None) or ())[-1:],
        getattr(error, "exception", None),
        error.args[0] if error.args else None,
    )
    for inner in candidates:
        if isinstance(inner, BaseException):
            return _innermost(inner)
    return error


def _about_login(error: pika_errors.AMQPConnectionError) -> str:
    if isinstance(error, pika_errors.ProbableAuthenticationError):
        return "the broker refuses this login, or its password or certificate (ACCESS_REFUSED)"
    said = str(error.args[0])  # ClassOfTheirs: (530) 'NOT_ALLOWED - ...'
    return (
        f"the broker does not let this login in: {said.partition(') ')[2].strip(_QUOTES) or said}"
    )


def _about_tls(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        words = error.verify_message.rstrip(".")
        return f"the broker's certificate is refused: {words}; --ca-file names the CAs to trust"
    if error.reason in _NOT_TLS:
        return "this port does not speak TLS; use the broker's TLS port, or amqp:// without TLS"
    return f"TLS with the broker failed: {(error.reason or str(error)).replace('_', ' ').lower()}"


def refused_connection(error: BaseException) -> RefusedByBrokerError | None:
    """Return the refusal if the broker ended the connection over what was sent on it."""
    if isinstance(error, pika_errors.ConnectionClosedByBroker) and error.reply_code in _OUR_FAULT:
        return RefusedByBrokerError(error.reply_code, error.reply_text)
    return None

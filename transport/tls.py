"""The settings of TLS connections to the broker.

The broker's certificate must come from a trusted CA and name the host of the URL; no setting turns
either check off.
"""

import logging
import ssl
from pathlib import Path

from fanfold.schemas.errors import InvalidInputError
from fanfold.transport.addresses import Address, Tls

_logger = logging.getLogger(__name__)


def client_context(
    *, ca_file: Path | None = None, certificate: Path | None = None, key: Path | None = None
) -> ssl.SSLContext:
    """Return a context that verifies the broker's certificate, with TLS 1.2 at least.

    Args:
        ca_file: PEM file of the CAs to trust, instead of the system's.
        certificate: our own certificate as PEM, where the broker asks for one.
        key: its private key as PEM, not encrypted; None if `certificate` contains it.

    Raises:
        InvalidInputError: if a file cannot be used.
    """
    if key is not None and certificate is None:
        raise InvalidInputError("--key has no use without --certificate; name both")
    try:
        context = ssl.create_default_context(cafile=ca_file)
    except (OSError, ssl.SSLError) as error:
        raise InvalidInputError(
            f"--ca-file {ca_file} holds no certificates that can be read ({_why(error)})"
        ) from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if certificate is not None:
        try:
            # An empty password, because openssl would ask for one at the terminal.
            context.load_cert_chain(certificate, key, password="")
        except (OSError, ssl.SSLError) as error:
            raise InvalidInputError(
                f"--certificate {certificate} cannot be used with its key {key or certificate} "
                f"({_why(error)}); both must be PEM files, the key without a password"
            ) from None
    return context


def connection_tls(
    urls: tuple[str, ...],
    *,
    ca_file: Path | None = None,
    certificate: Path | None = None,
    key: Path | None = None,
) -> Tls | None:
    """Return the TLS settings for these brokers, None if none of them uses TLS.

    Logs a warning if a login is RabbitMQ's well-known `guest`, which is for trying out on one
    machine.

    Args:
        urls: the brokers' addresses.
        ca_file: as for `client_context`, likewise the rest.
        certificate: names the login too, where an address has no password.
        key: of the certificate.

    Raises:
        InvalidInputError: if that login is used elsewhere, or files were named that only TLS has
            a use for, or that cannot be used.
    """
    for address in map(Address.parse, urls):
        _mind_guest(address)
    if any(url.startswith("amqps:") for url in urls):
        context = client_context(ca_file=ca_file, certificate=certificate, key=key)
        return Tls(context, has_certificate=certificate is not None)
    for option, file in (("--ca-file", ca_file), ("--certificate", certificate), ("--key", key)):
        if file is not None:
            raise InvalidInputError(f"{option} has no use without TLS; use an amqps:// address")
    return None


def _mind_guest(address: Address) -> None:
    if address.login != "guest":
        return
    if not address.is_loopback:
        raise InvalidInputError(
            f"{address}: the login guest is for trying out on the broker's own machine; take part "
            "with a login of your own, such as `fanfold enroll` makes"
        )
    _logger.warning("%s: the login guest is for trying out; see `fanfold enroll`", address)


def _why(error: OSError) -> str:
    return error.strerror or str(error)

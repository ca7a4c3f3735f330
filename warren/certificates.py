"""A private certificate authority, for a federation that has none of its own.

Good for trying TLS out, and for a closed group that hands out its CA's certificate itself.
"""

import datetime as dt
import os
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

from schemas.errors import InvalidInputError
from schemas.topology import check_identifier

DAYS_OF_CA = 3650
DAYS_OF_CERTIFICATE = 825
"""What browsers and phones still accept from a private CA."""
_CLOCKS_DIFFER = dt.timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Authority:
    """A CA's certificate and key, in a folder.

    Files: `ca.pem` is for everybody, `ca-key.pem` for nobody else; `NAME.pem` and `NAME-key.pem`
    for each certificate. Keys are P-256, readable by their owner only.
    """

    folder: Path
    certificate: x509.Certificate
    key: EllipticCurvePrivateKey

    @classmethod
    def in_folder(cls, folder: Path) -> "Authority":
        """Return the CA of a folder, made if there is none.

        Raises:
            InvalidInputError: if the folder cannot be used.
        """
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if not (folder / "ca-key.pem").exists():
                return cls._make(folder)
            certificate = x509.load_pem_x509_certificate((folder / "ca.pem").read_bytes())
            key = serialization.load_pem_private_key((folder / "ca-key.pem").read_bytes(), None)
            if not isinstance(key, EllipticCurvePrivateKey):
                raise ValueError("its key is not one of ours")  # noqa: TRY301, TRY004 - as damaged as any other
        except (OSError, ValueError) as error:
            raise InvalidInputError(
                f"the certificates in {folder} cannot be used ({error}); choose another folder"
            ) from None
        return cls(folder, certificate, key)

    @classmethod
    def _make(cls, folder: Path) -> "Authority":
        key = ec.generate_private_key(ec.SECP256R1())
        name = _name("Warren private CA")
        builder = _builder(name, name, key, DAYS_OF_CA).add_extension(
            x509.BasicConstraints(ca=True, path_length=0), critical=True
        )
        certificate = builder.add_extension(_usage(signs=True), critical=True).sign(
            key, hashes.SHA256()
        )
        _write(folder / "ca.pem", _pem(certificate), 0o644)
        _write(folder / "ca-key.pem", _key_pem(key), 0o600)
        return cls(folder, certificate, key)

    def issue_server(
        self, hosts: Sequence[str], *, name: str = "server", days: float = DAYS_OF_CERTIFICATE
    ) -> tuple[Path, Path]:
        """Return certificate and key of a broker that is reached under these names or addresses."""
        return self._issue(name, hosts[0], x509.oid.ExtendedKeyUsageOID.SERVER_AUTH, hosts, days)

    def issue_client(self, login: str, *, days: float = DAYS_OF_CERTIFICATE) -> tuple[Path, Path]:
        """Return certificate and key of a participant or coordinator with this broker login.

        Raises:
            InvalidInputError: if it is no name for one.
        """
        check_identifier("the login", login)
        return self._issue(login, login, x509.oid.ExtendedKeyUsageOID.CLIENT_AUTH, (), days)

    def _issue(
        self,
        file: str,
        subject: str,
        purpose: x509.ObjectIdentifier,
        hosts: Sequence[str],
        days: float,
    ) -> tuple[Path, Path]:
        key = ec.generate_private_key(ec.SECP256R1())
        builder = (
            _builder(_name(subject), self.certificate.subject, key, days)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()),
                critical=False,
            )
        )
        if hosts:
            names = x509.SubjectAlternativeName([_host(host) for host in hosts])
            builder = builder.add_extension(names, critical=False)
        paths = self.folder / f"{file}.pem", self.folder / f"{file}-key.pem"
        _write(paths[0], _pem(builder.sign(self.key, hashes.SHA256())), 0o644)
        _write(paths[1], _key_pem(key), 0o600)
        return paths


def _builder(
    subject: x509.Name, issuer: x509.Name, key: EllipticCurvePrivateKey, days: float
) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    ends = now + dt.timedelta(days=days)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(min(now, ends) - _CLOCKS_DIFFER)
        .not_valid_after(ends)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.oid.NameOID.COMMON_NAME, common_name)])


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=signs,
        crl_sign=signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _key_pem(key: EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _write(path: Path, content: bytes, mode: int) -> None:
    """Replace a file; its mode is there before its content is."""
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)

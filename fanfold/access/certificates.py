"""A private certificate authority, for a federation that has none of its own.

For trying out TLS, and for a closed group that distributes its CA's certificate itself.
"""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from fanfold.schemas.errors import InvalidInputError
from fanfold.schemas.names import check_identifier, owner_of
from fanfold.storage.disk import create

DAYS_OF_CA = 3650
DAYS_OF_CERTIFICATE = 825
"""What browsers and phones still accept from a private CA."""
_CLOCKS_DIFFER = dt.timedelta(minutes=5)
_SIGNS = x509.KeyUsage(
    key_cert_sign=True,
    crl_sign=True,
    digital_signature=True,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    encipher_only=False,
    decipher_only=False,
)
"""The key usage of the CA's certificate: it signs others."""


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
        """Return the CA in a folder; make one if there is none.

        Raises:
            InvalidInputError: if the folder cannot be used.
        """
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if not (folder / "ca-key.pem").exists():
                return cls._make(folder)
            certificate = x509.load_pem_x509_certificate((folder / "ca.pem").read_bytes())
            key = serialization.load_pem_private_key((folder / "ca-key.pem").read_bytes(), None)
        except (OSError, ValueError) as error:
            raise InvalidInputError(_unusable(folder, error)) from None
        if not isinstance(key, EllipticCurvePrivateKey):
            raise InvalidInputError(_unusable(folder, "its key is not on an elliptic curve"))
        return cls(folder, certificate, key)

    @classmethod
    def _make(cls, folder: Path) -> "Authority":
        key = ec.generate_private_key(ec.SECP256R1())
        name = "Fanfold private CA"
        builder = (
            _builder(name, key, DAYS_OF_CA)
            .issuer_name(_name(name))
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_SIGNS, critical=True)
        )
        certificate = builder.sign(key, hashes.SHA256())
        _write(folder, "ca", certificate, key)
        return cls(folder, certificate, key)

    def issue_server(self, hosts: Sequence[str]) -> tuple[Path, Path]:
        """Return certificate and key of a broker with these host names or addresses."""
        names = x509.SubjectAlternativeName([_host(host) for host in hosts])
        return self._issue("server", hosts[0], ExtendedKeyUsageOID.SERVER_AUTH, names)

    def issue_client(self, login: str) -> tuple[Path, Path]:
        """Return certificate and key of a participant or coordinator with this broker login.

        Raises:
            InvalidInputError: if a login cannot have this name.
        """
        check_identifier("the login", owner_of(login))
        return self._issue(login, login, ExtendedKeyUsageOID.CLIENT_AUTH)

    def _issue(
        self, file: str, subject: str, purpose: x509.ObjectIdentifier, *more: x509.ExtensionType
    ) -> tuple[Path, Path]:
        key = ec.generate_private_key(ec.SECP256R1())
        builder = _builder(subject, key, DAYS_OF_CERTIFICATE).issuer_name(self.certificate.subject)
        builder = builder.add_extension(
            x509.BasicConstraints(ca=False, path_length=None), critical=True
        )
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key())
        for extension in (x509.ExtendedKeyUsage([purpose]), issuer, *more):
            builder = builder.add_extension(extension, critical=False)
        return _write(self.folder, file, builder.sign(self.key, hashes.SHA256()), key)


def _unusable(folder: Path, reason: object) -> str:
    return f"the certificates in {folder} cannot be used ({reason}); choose another folder"


def _builder(subject: str, key: EllipticCurvePrivateKey, days: int) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(_name(subject))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCKS_DIFFER)
        .not_valid_after(now + dt.timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _write(
    folder: Path, name: str, certificate: x509.Certificate, key: EllipticCurvePrivateKey
) -> tuple[Path, Path]:
    """Replace a certificate and its key."""
    pem = serialization.Encoding.PEM
    key_pem = key.private_bytes(
        pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    paths = folder / f"{name}.pem", folder / f"{name}-key.pem"
    contents = certificate.public_bytes(pem), key_pem
    for path, content, mode in zip(paths, contents, (0o644, 0o600), strict=True):
        path.unlink(missing_ok=True)
        create(path, content, mode=mode)
    return paths

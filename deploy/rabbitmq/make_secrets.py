"""Makes the passwords of a federation's broker, once: `make_secrets.py FOLDER [BROKER_HOST ...]`.

Writes into FOLDER what services read from files: `definitions.json` (the template beside this
script, with salted hashes), `coordinator-url` and `participant-url` (broker URLs), the UI's
`operator-password` and `monitoring-password`, the `page-password` of `fanfold serve`, and
`erlang-cookie`. What is there already is left as it is. Needs Python's standard library only.
"""

import json
import os
import secrets
import sys
from base64 import b64encode
from hashlib import sha256
from pathlib import Path

TEMPLATE = Path(__file__).with_name("definitions.json")
SERVICES = ("coordinator", "participant")
SERVICE_USER = 10001
"""The user inside our containers, who alone may read the URLs."""


def main() -> None:
    """Make what is missing."""
    folder, hosts = Path(sys.argv[1]), sys.argv[2:] or ["broker"]
    scheme = os.environ.get("FANFOLD_BROKER_SCHEME", "amqp")
    folder.mkdir(parents=True, exist_ok=True)
    passwords = {}
    definitions = json.loads(TEMPLATE.read_text())
    for user in definitions["users"]:
        name = user["name"]
        passwords[name] = kept(folder / f"{name}-password")
        user["password_hash"] = hashed(passwords[name])
        user["hashing_algorithm"] = "rabbit_password_hashing_sha256"
    write(folder / "definitions.json", json.dumps(definitions, indent=2), 0o444)
    for name in SERVICES:
        # 5671 with TLS, 5672 without: the default ports.
        urls = (f"{scheme}://{name}:{passwords[name]}@{host}/fanfold" for host in hosts)
        write(folder / f"{name}-url", " ".join(urls), 0o400, SERVICE_USER)
    kept(folder / "erlang-cookie", 0o444)
    kept(folder / "page-password")


def kept(path: Path, mode: int = 0o400) -> str:
    """Return the secret in a file, made up if there is none."""
    if not path.exists():
        write(path, secrets.token_hex(24), mode)
    return path.read_text()


def hashed(password: str) -> str:
    """Return RabbitMQ's salted SHA-256 of a password.

    The salt follows from the password, so that the definitions file is the same every time and
    importing it again changes nothing at the broker.
    """
    salt = sha256(b"salt" + password.encode()).digest()[:4]
    return b64encode(salt + sha256(salt + password.encode()).digest()).decode()


def write(path: Path, text: str, mode: int, user: int | None = None) -> None:
    """Replace a file at once: readers see the old one or the new one."""
    incoming = path.with_name(f"{path.name}.incoming")
    incoming.write_text(text)
    incoming.chmod(mode)
    if user is not None and os.geteuid() == 0:
        os.chown(incoming, user, user)
    incoming.replace(path)


if __name__ == "__main__":
    main()

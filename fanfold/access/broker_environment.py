"""The broker's addresses, as the environment names them."""

import os
from pathlib import Path

from fanfold.schemas.errors import InvalidInputError

BROKER_VARIABLE = "FANFOLD_BROKER_URL"
BROKER_FILE_VARIABLE = "FANFOLD_BROKER_URL_FILE"
"""Names a file with the URLs, the way containers get their secrets."""
LOGIN_VARIABLE = "FANFOLD_MANAGEMENT_PASSWORD"
"""The password of the login at the broker's management API."""


def broker_of_the_environment() -> str:
    """Return the URLs of the environment, or of the file that it names; empty where there are none.

    Raises:
        InvalidInputError: if there is no such file.
    """
    path = os.environ.get(BROKER_FILE_VARIABLE)
    if os.environ.get(BROKER_VARIABLE) or not path:
        return os.environ.get(BROKER_VARIABLE, "")
    try:
        return Path(path).read_text()
    except OSError as error:
        raise InvalidInputError(f"{BROKER_FILE_VARIABLE} {path}: {error.strerror}") from None

"""The broker's addresses, as the environment names them."""

import os
from pathlib import Path

from fanfold.schemas.errors import InvalidInputError

BROKER_VARIABLE = "FANFOLD_BROKER_URL"
UPSTREAM_VARIABLE = "FANFOLD_UPSTREAM_BROKER_URL"
"""Of the federation above a region."""
OF_A_FILE = "_FILE"
"""Such a variable names a file with the URLs, the way containers get their secrets."""
LOGIN_VARIABLE = "FANFOLD_MANAGEMENT_PASSWORD"
"""The password of the login at the broker's management API."""


def broker_of_the_environment(variable: str = BROKER_VARIABLE) -> str:
    """Return the URLs of the environment, or of the file that it names; empty where there are none.

    Args:
        variable: that names them, or with `_FILE` behind it their file.

    Raises:
        InvalidInputError: if there is no such file.
    """
    path = os.environ.get(f"{variable}{OF_A_FILE}")
    if os.environ.get(variable) or not path:
        return os.environ.get(variable, "")
    try:
        return Path(path).read_text()
    except OSError as error:
        raise InvalidInputError(f"{variable}{OF_A_FILE} {path}: {error.strerror}") from None

"""Programs of others that a test asks for a second opinion."""

import os
import shutil
from typing import NoReturn

import pytest


def missing(reason: str) -> NoReturn:
    """Skip the test; the gate (.ci/run), which installs what Debian has, fails instead."""
    if os.environ.get("CI"):
        pytest.fail(f"this test may not be skipped in CI: {reason}")
    pytest.skip(reason)


def program(name: str, *, package: str) -> str:
    """Return where a program is that Debian has in `package`."""
    return shutil.which(name) or missing(f"no {name} here (Debian: apt install {package})")

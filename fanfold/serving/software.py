"""The versions of what a run is trained with."""

import platform
from functools import cache
from importlib.metadata import PackageNotFoundError, version

LIBRARIES = (
    "fanfold",
    "torch",
    "torchvision",
    "numpy",
    "pika",
    "msgpack",
    "pydantic",
    "safetensors",
)


@cache
def software() -> dict[str, str]:
    """Return the versions of Python and of the libraries that are installed."""
    found = {"python": platform.python_version()}
    for library in LIBRARIES:
        try:
            found[library] = version(library)
        except PackageNotFoundError:
            continue
    return found

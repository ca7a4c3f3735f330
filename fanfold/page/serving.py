"""`fanfold page`: the page of a folder, until somebody stops it."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from fanfold.page.settings import PageSettings
from fanfold.schemas.errors import InvalidInputError, how_to_install
from fanfold.schemas.events.commands import PageAwaitsRun, PageServed
from fanfold.schemas.events.event import Say


def serve(
    folder: Path,
    settings: PageSettings,
    *,
    say: Say,
    on_ready: Callable[[Callable[[str], None]], None],
) -> None:
    """Serve the page until it is stopped.

    Args:
        folder: of one run or of several; it is only read.
        settings: the page's address.
        say: is told the address.
        on_ready: is given the function that stops the page.

    Raises:
        InvalidInputError: if there is no such folder, the port cannot be used, or packages are
            missing.
    """
    if not folder.is_dir():
        raise InvalidInputError(
            f"{folder} is no folder; name the one that a run was given as --out, or one above it"
        )
    ended = threading.Event()
    with served(folder, settings) as url:
        from fanfold.page.catalogue import Catalogue  # noqa: PLC0415 - its packages are an extra

        on_ready(lambda _reason: ended.set())
        say(PageServed(url))
        if not Catalogue(folder).names():
            say(PageAwaitsRun(str(folder)))
        ended.wait()


@contextmanager
def served(folder: Path, settings: PageSettings) -> Iterator[str]:
    """Serve the page of a folder, which may come to be later; yield the address.

    Raises:
        InvalidInputError: if the address cannot be used, or packages are missing.
    """
    check_packages()
    from fanfold.page.server import PageServer  # noqa: PLC0415 - its packages are an extra

    with PageServer(folder, settings) as server:
        yield server.url


def check_packages() -> None:
    """See that the page can be served.

    Raises:
        InvalidInputError: if a package is missing.
    """
    missing = [name for name in ("starlette", "uvicorn") if find_spec(name) is None]
    if missing:
        raise InvalidInputError(f"the page needs {' and '.join(missing)}: {how_to_install('page')}")

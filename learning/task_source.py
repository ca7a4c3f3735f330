"""The source of a task: which files its code is made of, and one hash for all of them.

Nothing of a task is imported here: what was not approved must not run before it is refused.
"""

import sys
from collections.abc import Container, Iterable, Iterator
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path

from fanfold.learning.errors import TaskError
from fanfold.learning.registry import look_here, module_of

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
OURS = "fanfold"


def task_sha256(name: str) -> str:
    r"""Return the hash of a task's source: 64 hex digits, equal wherever the code is equal.

    sha256 over, for each file that ends in `.py`, in order of its path's UTF-8 bytes: path, NUL,
    length of the content in decimals, NUL, content. Line ends count as `\n`, and a byte order mark
    at the start does not count. The files of a task in a package are all those of the topmost
    package; of one in a module alone it is that file, and of a task of Fanfold itself those of its
    module. Paths are counted from the folder that holds these, with `/`.

    Args:
        name: as for `load_task`.

    Raises:
        TaskError: if there is no such module, or it has no source that can be read.
    """
    digest = sha256()
    try:
        for path, content in _contents(_source(name)):
            digest.update(b"%b\0%d\0%b" % (path, len(content), content))
    except OSError as error:
        raise TaskError(
            f"the source of the task {name!r} cannot be read: {error.filename} ({error.strerror})"
        ) from None
    return digest.hexdigest()


def task_sha256_if_any(name: str) -> str | None:
    """Return the hash of a task's source; None where there is none, as in a notebook."""
    try:
        return task_sha256(name)
    except TaskError:
        return None


def loaded_beside(name: str, before: Container[str]) -> list[str]:
    """Return files and packages that a task has imported from beside its own source.

    Only where the source lies in the current directory: what is installed lies beside much else.

    Args:
        name: of the task, which was loaded.
        before: the names of all modules before it was.
    """
    source, here = _source(name), Path.cwd()
    if source.parent.resolve() != here.resolve():
        return []
    loaded = [module for name, module in sys.modules.items() if name not in before]
    files = (getattr(module, "__file__", None) for module in loaded)
    paths = (Path(file) for file in files if isinstance(file, str))
    found = {
        path.relative_to(here).parts[0]
        for path in paths
        if path.is_relative_to(here) and "site-packages" not in path.parts
    }
    return sorted(found - {source.name, OURS})


def _source(name: str) -> Path:
    """Return the file, or the folder of the package, that the code of a task is in."""
    module = module_of(name)
    look_here()
    topmost, *below = module.split(".")
    # Of a name without a dot, nothing is imported. Which script is __main__ differs by process.
    spec = None if topmost == "__main__" else find_spec(topmost)
    if spec is None:
        raise TaskError(
            f"there is no module {topmost!r} for the task {name!r}, neither installed nor in the "
            "current directory"
        )
    if spec.submodule_search_locations is None:
        origin = Path(spec.origin or topmost)
        if origin.suffix != ".py" or below:
            raise TaskError(f"the task {name!r} has no source in Python: {origin}")
        return origin
    for folder in map(Path, spec.submodule_search_locations):
        found = _module_in(folder, below)
        if found is not None:
            return found if topmost == OURS else folder
    raise TaskError(f"there is no source of the module {module!r} for the task {name!r}")


def _module_in(folder: Path, below: list[str]) -> Path | None:
    """Return the file or folder of a module, from the folder of its topmost package."""
    path = folder.joinpath(*below)
    file = path.with_name(f"{path.name}.py")
    if below and file.is_file() and not (path / "__init__.py").is_file():
        return file
    return path if path.is_dir() else None


def _contents(source: Path) -> Iterator[tuple[bytes, bytes]]:
    """Yield path and content of each file, in order of the paths."""
    paths = [source] if source.is_file() else list(_files(source, (source.resolve(),)))
    named = [
        (path.relative_to(source.parent).as_posix().encode(errors="surrogateescape"), path)
        for path in paths
    ]
    for name, path in sorted(named):
        content = path.read_bytes().removeprefix(BYTE_ORDER_MARK)
        yield name, content.replace(b"\r\n", b"\n").replace(b"\r", b"\n")


def _files(folder: Path, above: Iterable[Path]) -> Iterator[Path]:
    """Yield the files below a folder; one that links to a folder above itself ends there."""
    for path in folder.iterdir():
        if path.is_dir():
            is_code = path.name != "__pycache__" and not path.name.startswith(".")
            if is_code and path.resolve() not in above:
                yield from _files(path, (*above, path.resolve()))
        elif path.name.endswith(".py"):
            yield path

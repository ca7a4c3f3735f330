"""The hash of a task's source covers its code, wherever it lies and however its lines end."""

import hashlib
import sys
from pathlib import Path

import pytest

from fanfold.learning import BUILT_IN, TaskError, loaded_beside, task_sha256, task_sha256_if_any
from fanfold.learning.registry import remember
from tests.federation.any_networks import Points

ALONE = "wards_alone:Ward"
PACKED = "wards.deep.ward:Ward"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the current directory, with a task in a module and another one in a package."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    write(tmp_path, "wards_alone.py", b"x = 1\n")
    write(tmp_path, "wards/__init__.py", b"")
    write(tmp_path, "wards/helpers.py", b"y = 2\n")
    write(tmp_path, "wards/deep/ward.py", b"z = 3\n")
    return tmp_path


def write(folder: Path, name: str, content: bytes) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def test_the_hash_is_the_one_that_the_page_of_the_protocol_defines() -> None:
    content = b"wards_alone.py\x006\0x = 1\n"
    assert task_sha256(ALONE) == hashlib.sha256(content).hexdigest()
    packed = b"wards/__init__.py\x000\0wards/deep/ward.py\x006\0z = 3\n"
    packed += b"wards/helpers.py\x006\0y = 2\n"
    assert task_sha256(PACKED) == hashlib.sha256(packed).hexdigest()


def test_line_ends_and_a_byte_order_mark_do_not_count(here: Path) -> None:
    """The same code, checked out on another system, has the same hash."""
    write(here, "wards/helpers.py", b"a\n\nb\n")
    expected = task_sha256(PACKED)
    for content in (b"a\r\n\r\nb\r\n", b"a\r\rb\r", b"\xef\xbb\xbfa\n\nb\n"):
        write(here, "wards/helpers.py", content)
        assert task_sha256(PACKED) == expected


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("wards/helpers.py", b"y = 3\n"),
        ("wards/deep/ward.py", b""),
        ("wards/deep/more/new.py", b""),
        ("wards/__init__.py", b"\n"),
    ],
)
def test_a_change_anywhere_in_the_package_changes_the_hash(
    here: Path, name: str, content: bytes
) -> None:
    before = task_sha256(PACKED)
    write(here, name, content)
    assert task_sha256(PACKED) != before


def test_a_file_that_is_renamed_or_cut_in_another_place_changes_the_hash(here: Path) -> None:
    """No two sets of files are written as the same bytes."""
    before = task_sha256(PACKED)
    (here / "wards/helpers.py").rename(here / "wards/helper.py")
    renamed = task_sha256(PACKED)
    write(here, "wards/helper.py", b"")
    write(here, "wards/__init__.py", b"y = 2\n")
    assert len({before, renamed, task_sha256(PACKED)}) == 3


@pytest.mark.parametrize(
    "name",
    [
        "wards/__pycache__/old.py",
        "wards/.hidden/notes.py",
        "wards/data.csv",
        "wards_alone.pyc",
        "other.py",
    ],
)
def test_what_is_no_code_of_the_task_changes_nothing(here: Path, name: str) -> None:
    before = task_sha256(PACKED), task_sha256(ALONE)
    write(here, name, b"anything")
    assert (task_sha256(PACKED), task_sha256(ALONE)) == before


def test_code_behind_a_link_counts_and_a_circle_of_links_ends(here: Path) -> None:
    """Python imports through links, too."""
    before = task_sha256(PACKED)
    write(here, "elsewhere/model.py", b"w = 4\n")
    (here / "wards/linked").symlink_to(here / "elsewhere")
    linked = task_sha256(PACKED)
    write(here, "elsewhere/model.py", b"w = 5\n")
    changed = task_sha256(PACKED)
    (here / "wards/again").symlink_to(here / "wards")
    assert len({before, linked, changed}) == 3
    assert task_sha256(PACKED) == changed


def test_nothing_of_the_task_is_run(here: Path) -> None:
    """What was not approved is refused before it can do anything."""
    for name in ("wards_alone.py", "wards/__init__.py", "wards/deep/ward.py"):
        write(here, name, b"raise SystemExit('ran')\n")
    assert task_sha256(ALONE) != task_sha256(PACKED)
    assert not {"wards_alone", "wards"} & set(sys.modules)


@pytest.mark.parametrize("name", BUILT_IN)
def test_every_built_in_task_has_a_hash(name: str) -> None:
    """Of its own module: other parts of Fanfold may change without it."""
    assert task_sha256(name) == task_sha256(BUILT_IN[name])


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("absent:Ward", "there is no module 'absent'"),
        ("wards.absent:Ward", "there is no source of the module 'wards.absent'"),
        ("wards_alone.below:Ward", "has no source in Python"),
        ("math:Ward", "has no source in Python"),
        ("wards", "there is no built-in task 'wards'"),
        ("__main__:Ward", "there is no module '__main__'"),
    ],
)
def test_a_task_without_source_is_said_in_words(name: str, words: str) -> None:
    with pytest.raises(TaskError, match=words):
        task_sha256(name)


def test_a_task_of_a_notebook_has_no_hash() -> None:
    remember("Points in a notebook", Points)
    with pytest.raises(TaskError, match="known in this process only"):
        task_sha256("Points in a notebook")
    assert task_sha256_if_any("Points in a notebook") is None


def test_source_that_cannot_be_read_is_said_in_words(here: Path) -> None:
    (here / "wards/lost.py").symlink_to(here / "nowhere.py")
    with pytest.raises(TaskError, match=r"source of the task .* cannot be read: .*lost.py"):
        task_sha256(PACKED)


def test_modules_beside_the_task_that_it_imports_are_named(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(here, "ward_tools.py", b"")
    write(here, "wards_alone.py", b"import ward_tools\n")
    for name in ("wards_alone", "ward_tools"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    before = set(sys.modules)
    __import__("wards_alone")
    assert loaded_beside(ALONE, before) == ["ward_tools.py"]
    assert loaded_beside(ALONE, sys.modules) == []
    for name in ("wards_alone", "ward_tools"):
        monkeypatch.delitem(sys.modules, name)

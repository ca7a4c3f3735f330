"""Facts about the open files that a benchmark of many participants needs."""

import subprocess
import sys

PROGRAM = (
    "from resource import RLIMIT_NOFILE as files, getrlimit, setrlimit;"
    "from benchmarks.processes import allow_open_files;"
    "setrlimit(files, (64, 512)); allow_open_files({}); print(*getrlimit(files))"
)


def told(number: int) -> tuple[str, str]:
    """What a process prints that may open 64 files, and might have 512, and asks for so many."""
    command = [sys.executable, "-c", PROGRAM.format(number)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip(), done.stderr.strip()


def test_a_process_raises_its_own_limit_as_far_as_it_has_to() -> None:
    """An Erlang that may open a billion files takes memory for a billion."""
    assert told(300) == ("300 512", "")
    assert told(50) == ("64 512", "")


def test_more_than_the_system_allows_is_said_at_once() -> None:
    """And not after a minute, by a broker that takes no more connections."""
    printed, said = told(513)
    assert printed == ""
    assert said == "this takes 513 open files, and 512 are allowed here (ulimit -Hn)"

"""Facts about the repository as a whole: what it must not contain, and what it promises to have."""

import ast
import re
import statistics
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = (
    *("fanfold", "coordinator", "participant", "schemas", "transport", "learning"),
    *("keeper", "sealing", "storage"),
)

# Put together here, so that this file does not contain what it looks for.
REGISTRY_HOSTS = tuple(
    ".".join(labels)
    for labels in (
        ("pypi", "org"),
        ("pythonhosted", "org"),
        ("download", "pytorch", "org"),
        ("anaconda", "org"),
        ("npmjs", "org"),
        ("deb", "debian", "org"),
        ("security", "debian", "org"),
        ("archive", "ubuntu", "com"),
        ("crates", "io"),
        ("proxy", "golang", "org"),
    )
)
# `fanfold` is the user inside the containers.
MACHINE_PATH = re.compile(r"/(?:home/(?!fanfold\b)[a-z]|Users/[A-Za-z]|work/(?:main|shared|[.]))")


def tracked_files() -> list[Path]:
    """Every file in git's index that is still there."""
    listing = subprocess.run(
        ["git", "ls-files", "-z"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    return [ROOT / name for name in listing.split("\0") if name and (ROOT / name).is_file()]


def texts() -> list[tuple[str, str]]:
    """Name and content of every tracked file that is text; what a fuzzer wrote is none."""
    contents = ((str(path.relative_to(ROOT)), path.read_bytes()) for path in tracked_files())
    return [
        (name, raw.decode())
        for name, raw in contents
        if b"\0" not in raw and not name.startswith("tests/fuzz/corpus/")
    ]


def make_targets() -> set[str]:
    makefile = (ROOT / "Makefile").read_text()
    return set(re.findall(r"^([a-z][a-z-]*):", makefile, re.MULTILINE))


def lines_by_module(*folders: str) -> dict[str, int]:
    return {
        name: text.count("\n")
        for name, text in texts()
        if name.endswith(".py") and (not folders or name.split("/")[0] in folders)
    }


def test_no_file_names_the_host_of_a_package_registry() -> None:
    """Where packages come from is the business of each machine's own configuration."""
    found = [(name, host) for name, text in texts() for host in REGISTRY_HOSTS if host in text]

    assert found == []


def test_no_file_names_a_path_of_a_developers_machine() -> None:
    """What works only in somebody's own folder does not belong here."""
    found = [(name, hit[0]) for name, text in texts() for hit in MACHINE_PATH.finditer(text)]

    assert found == []


def test_every_ignored_lint_rule_has_its_reason_beside_it() -> None:
    """Each rule that pyproject.toml ignores stands on a line that says why."""
    raw = (ROOT / "pyproject.toml").read_text()
    section = raw[raw.index("ignore = [") : raw.index("[tool.ruff.lint.pydocstyle]")]
    with_rules = [line for line in section.splitlines() if re.search(r'"[A-Z]+\d*"', line)]

    assert with_rules
    assert [line for line in with_rules if not re.search(r"  # \w", line)] == []


SUPPRESSION = re.compile(
    r"#\s*(?:ruff:\s*)?(?:noqa|nosec|type:\s*ignore|pyright:|mypy:|pylint:|pragma:\s*no cover).*"
)
LAZY_IMPORT = "PLC0415"


def suppressions() -> list[str]:
    """Every comment that silences a tool, as `file: comment`."""
    here = str(Path(__file__).relative_to(ROOT))
    return [
        f"{name}: {hit[0]}"
        for name, text in texts()
        if name.endswith(".py") and name != here
        for hit in SUPPRESSION.finditer(text)
    ]


def test_every_suppressed_finding_names_its_rule_and_its_reason() -> None:
    """A `noqa` or `type: ignore` says what it silences and why."""
    explained = re.compile(
        r"# (?:noqa: [A-Z]+\d+(?:, [A-Z]+\d+)*|type: ignore\[[a-z-]+(?:, ?[a-z-]+)*\])"
        r"\s+(?:-|#) ?\w"
    )
    found = [each for each in suppressions() if not explained.match(each.partition(": ")[2])]

    assert found == []


def test_at_most_fifteen_findings_are_suppressed() -> None:
    """Imports that wait until they are needed apart: the rule is otherwise to mend the finding."""
    found = [each for each in suppressions() if LAZY_IMPORT not in each]

    assert found
    assert len(found) <= 15, "\n".join(found)


def test_everything_pyproject_asks_for_is_pinned() -> None:
    """`constraints.txt` has an exact version for each dependency, those for development too."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = [*project["dependencies"]]
    for extra in project["optional-dependencies"].values():
        asked += extra
    names = {re.split(r"[\[<>=~!; ]", line)[0].lower().replace("_", "-") for line in asked}
    constraints = (ROOT / "constraints.txt").read_text()
    pinned = set(re.findall(r"^([a-z0-9-]+)==\S+$", constraints, re.MULTILINE))

    assert names - pinned == {"fanfold"}  # an extra that takes others in


def test_torch_and_torchvision_are_pinned_as_a_pair() -> None:
    """Each torchvision 0.N is built for torch 2.(N - 15): other pairs do not load."""
    constraints = (ROOT / "constraints.txt").read_text()
    torch = re.search(r"^torch==2\.(\d+)\.(\d+)$", constraints, re.MULTILINE)
    torchvision = re.search(r"^torchvision==0\.(\d+)\.(\d+)$", constraints, re.MULTILINE)

    assert torch is not None
    assert torchvision is not None
    assert int(torchvision[1]) == int(torch[1]) + 15
    assert torchvision[2] == torch[2]


@pytest.mark.parametrize("document", ["README.md", "CONTRIBUTING.md"])
def test_every_make_target_a_document_names_exists(document: str) -> None:
    """A reader who types what the document says does not meet `No rule to make target`."""
    text = (ROOT / document).read_text()
    named = set(re.findall(r"(?:^|`|\$ |&& )make ([a-z][a-z-]*)", text, re.MULTILINE))

    assert "test" in named
    assert named <= make_targets()


def test_an_audit_without_a_list_of_vulnerabilities_fails() -> None:
    """Pins that pip-audit could not look up are no pins without a known vulnerability."""
    (recipe,) = [
        line for line in (ROOT / "Makefile").read_text().splitlines() if "pip_audit" in line
    ]
    assert "--strict" in recipe.split()


def test_readme_shows_the_one_command_that_trains() -> None:
    """`make demo` is the first thing that a stranger should try."""
    assert "make demo" in (ROOT / "README.md").read_text()


def test_every_make_target_is_explained_or_hidden_on_purpose() -> None:
    """`make help` lists all targets but the step that people need not call."""
    makefile = (ROOT / "Makefile").read_text()
    explained = set(re.findall(r"^([a-z][a-z-]*):.*## \S", makefile, re.MULTILINE))

    assert make_targets() - explained == {"rabbitmq"}


def test_changelog_has_a_place_for_what_is_not_released_yet() -> None:
    """The newest heading is `Unreleased`, and something stands below it."""
    sections = re.split(r"^## ", (ROOT / "CHANGELOG.md").read_text(), flags=re.MULTILINE)

    assert sections[1].startswith("Unreleased")
    assert re.search(r"^- \w", sections[1], re.MULTILINE)


def test_files_are_of_a_size_to_be_read_in_one_go() -> None:
    """The median module has about 120 lines, and past 300 it is usually two things."""
    assert statistics.median(lines_by_module(*PACKAGES).values()) <= 140
    assert {name: lines for name, lines in lines_by_module().items() if lines > 300} == {}


def constructors(folder: str) -> Iterator[tuple[str, int]]:
    """Yield class and number of arguments of each constructor that is written out."""
    for path in sorted((ROOT / folder).rglob("*.py")):
        for owner in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            for method in owner.body if isinstance(owner, ast.ClassDef) else ():
                if isinstance(method, ast.FunctionDef) and method.name == "__init__":
                    given = method.args
                    number = len(given.posonlyargs + given.args + given.kwonlyargs) - 1
                    yield f"{path.relative_to(ROOT)}: {owner.name}", number


def test_no_part_of_the_coordinator_is_made_from_more_than_eight_others() -> None:
    """What needs more of them does more than one thing."""
    found = dict(constructors("coordinator"))
    assert found["coordinator/round_loop.py: Coordinator"] == 8
    assert {name: number for name, number in found.items() if number > 8} == {}


def test_the_coordinators_folder_can_be_taken_in_at_a_glance() -> None:
    """Whatever is not the round itself lies in a package that is named for it."""
    files = [path for path in tracked_files() if path.parent == ROOT / "coordinator"]
    assert len(files) <= 12


def test_no_two_files_of_tests_have_one_name() -> None:
    """They are imported by their name alone."""
    names = [path.name for path in tracked_files() if path.match("tests/**/test_*.py")]
    assert sorted(set(names)) == sorted(names)

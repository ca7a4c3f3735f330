"""What a participant's owner allows, and how the rest is refused."""

import pytest

from fanfold.learning import TaskError
from fanfold.participant.open_runs.allowed import Allowance, Allowed
from fanfold.participant.settings import ParticipantSettings
from fanfold.schemas.errors import InvalidInputError
from fanfold.schemas.run_messages import OpenRun

OWN, OTHER = "a" * 64, "b" * 64


def allowance(*texts: str, own: str = OWN) -> Allowance:
    return Allowance([Allowed.parse(text) for text in texts], lambda _task: own)


def run(task: str = "digits", sha256: str = OWN) -> OpenRun:
    return OpenRun(run="r1", task=task, task_sha256=sha256)


@pytest.mark.parametrize(
    "allowed",
    [
        ("digits",),
        (f"digits@sha256:{OWN}",),
        ("other:Task", "digits"),
        (f"digits@sha256:{OTHER}", f"digits@sha256:{OWN}"),
        (f"digits@sha256:{OTHER}", "digits"),
    ],
)
def test_an_allowed_task_is_served(allowed: tuple[str, ...]) -> None:
    assert allowance(*allowed).refusal(run()) is None


def test_without_a_hash_the_own_code_is_what_runs_and_it_is_noted_that_it_differs() -> None:
    either = allowance("digits")
    assert either.refusal(run(sha256=OTHER)) is None
    assert not either.load(run(sha256=OTHER))
    assert either.load(run())


@pytest.mark.parametrize(
    ("allowed", "opened", "words"),
    [
        ("digits", run("mnist"), "the task mnist is not allowed here; .* --allow mnist"),
        (f"digits@sha256:{OTHER}", run(), "run's code of digits has the hash aaaaaaaaaaaa.*bbbbb"),
        (f"digits@sha256:{OTHER}", run(sha256=OTHER), "digits on this machine has the hash aaaa"),
    ],
)
def test_another_task_or_another_code_is_refused_in_words(
    allowed: str, opened: OpenRun, words: str
) -> None:
    """The code on this machine counts, too: it is what would run."""
    with pytest.raises(AssertionError, match=words):
        raise AssertionError(allowance(allowed).refusal(opened))


def test_code_that_was_changed_since_it_was_loaded_is_refused() -> None:
    """A process cannot load it again, so what it would run is not what its files say."""
    hashes = [OWN]
    either = Allowance([Allowed.parse("digits")], lambda _task: hashes[-1])
    assert either.refusal(run()) is None
    either.load(run())
    hashes.append(OTHER)
    assert "changed after it was loaded" in str(either.refusal(run(sha256=OTHER)))


def test_a_task_that_is_not_here_is_refused_in_its_own_words() -> None:
    def hash_of(task: str) -> str:
        raise TaskError(f"there is no module {task!r}")

    refusal = Allowance([Allowed.parse("wards:Ward")], hash_of).refusal(run("wards:Ward"))
    assert refusal == "there is no module 'wards:Ward'"


@pytest.mark.parametrize("text", ["", "a b", "digits@", "digits@sha256:abc", f"digits@sha1:{OWN}"])
def test_what_is_no_task_and_hash_is_refused(text: str) -> None:
    with pytest.raises(InvalidInputError, match="neither TASK nor TASK@sha256:HASH"):
        ParticipantSettings(id="alice", allow=(text,))


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"task": "digits"}, "--allow replaces --task"),
        ({"once": True}, "--once leaves at the end of a run"),
        ({"federation": "clinics.run.r1"}, "clinics.run.r1 is one of them"),
    ],
)
def test_what_does_not_go_with_allow_is_refused(more: dict[str, object], words: str) -> None:
    with pytest.raises((InvalidInputError, ValueError), match=words):
        ParticipantSettings.model_validate({"id": "alice", "allow": ("digits",), **more})

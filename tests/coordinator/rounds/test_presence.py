"""Facts about who is there, and what silence is."""

from fanfold.coordinator.rounds.presence import SILENT_SIGNS, Participant, Presence
from fanfold.schemas.messages import Hello, Progress


def present(**heard_at: float) -> Presence:
    """Those who give a sign of life every second."""
    presence = Presence()
    for name, time in heard_at.items():
        presence.heard(name, time).alive_seconds = 1.0
    return presence


def progress(phase: str, version: int = 4) -> Progress:
    return Progress.model_validate(
        {"participant": "ann", "instance": "i", "run": "r", "version": version, "phase": phase}
    )


def test_present_from_the_first_word_to_the_goodbye() -> None:
    """A goodbye from an instance that was replaced since is no goodbye."""
    presence = Presence()
    presence.heard("ann", 1.0).instance = "second"
    assert "ann" in presence
    assert not presence.left("ann", "first")
    assert presence.left("ann", "second")
    assert "ann" not in presence
    assert not presence.left("ann", "second")


def test_after_a_restart_any_instance_may_leave() -> None:
    """The checkpoint knows names and no instances."""
    presence = Presence()
    presence.heard("ann", 1.0)
    assert presence.left("ann", "whatever")


def test_silence_through_a_deadline_is_absence() -> None:
    """Until something is heard again."""
    presence = present(ann=1.0, bob=6.0)
    silent = presence.silent(100.0, since=5.0)
    assert silent == {"ann"}
    presence.drop(silent)
    assert presence.names == {"bob"}
    presence.heard("ann", 101.0)
    assert presence.names == {"ann", "bob"}


def test_silence_is_three_signs_of_life_that_did_not_come() -> None:
    """Where a deadline is shorter than that, who spoke before the version was out is no less here.

    The intervals are what each says of itself, 30 s where it did not.
    """
    presence = Presence()
    presence.heard("ann", 0.0).said(Hello(participant="ann", instance="i", alive_seconds=10.0))
    presence.heard("bob", 0.0)
    assert SILENT_SIGNS == 3
    assert presence.silent(30.0, since=20.0) == set()
    assert presence.silent(30.1, since=20.0) == {"ann"}
    assert presence.silent(90.1, since=20.0) == {"ann", "bob"}
    assert presence.silent(1e9, since=0.0) == set()


def test_time_in_which_nobody_could_speak_is_nobodys_silence() -> None:
    """A connection that was lost for an hour, or a broker that took nothing."""
    presence = present(ann=10.0, bob=3615.0)
    presence.could_not_speak(3600.0, 3620.0)
    assert presence.silent(3613.0, since=20.0) == set()
    assert presence.silent(3621.0, since=3620.0) == {"ann"}
    assert presence.silent(3622.9, since=3621.0) == {"ann"}


def test_an_update_is_a_sign_of_life_but_brings_nobody_back() -> None:
    """It may arrive after the goodbye of its sender, who is gone."""
    presence = present(ann=1.0)
    presence.still_there("ann", 9.0)
    assert presence.silent(20.0, since=5.0) == set()
    assert presence.left("ann", "")
    presence.still_there("ann", 10.0)
    assert len(presence) == 0


def test_who_works_on_a_version_holds_it() -> None:
    """By its own last word, while it gives signs of life; who waits, or is silent, may not."""
    entry = Participant(heard_at=0.0)
    presence = present(ann=100.0)
    for phase, is_at_work in (("training", True), ("uploading", True), ("waiting", False)):
        presence.heard("ann", 100.0).said(progress(phase))
        assert presence.at_work_on("r", 4, now=101.0) == ({"ann"} if is_at_work else set())
    presence.heard("ann", 100.0).said(progress("training"))
    assert presence.at_work_on("r", 5, now=101.0) == set()
    assert presence.at_work_on("r", 4, now=100.0 + 3 * entry.alive_seconds + 1) == set()

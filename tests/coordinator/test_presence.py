"""Facts about who is there."""

from coordinator.presence import Presence


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
    presence = Presence()
    presence.heard("ann", 1.0)
    presence.heard("bob", 6.0)
    assert presence.drop_silent_since(5.0) == {"ann"}
    assert presence.names == {"bob"}
    presence.heard("ann", 7.0)
    assert presence.names == {"ann", "bob"}


def test_an_update_is_a_sign_of_life_but_brings_nobody_back() -> None:
    """It may arrive after the goodbye of its sender, who is gone."""
    presence = Presence()
    presence.heard("ann", 1.0)
    presence.answered("ann", 9.0)
    assert presence.drop_silent_since(5.0) == set()
    assert presence.left("ann", "")
    presence.answered("ann", 10.0)
    assert len(presence) == 0

"""Facts about what a private run counts as known, refused and lost updates among it."""

from coordinator.releases import RECENT, Releases


def test_noise_of_the_coordinator_is_counted_by_sums() -> None:
    """The same update in two sums meets two noises; one that only arrived meets none."""
    releases = Releases(on_arrival=False)
    releases.arrived("a", "d")
    assert releases.counts == {}
    releases.folded("a")
    releases.folded("a")
    assert releases.counts == {"a": 2}
    releases.lost("a", "d")
    assert releases.counts == {"a": 3}


def test_noise_of_a_participant_is_counted_by_what_came() -> None:
    """Refused or not; and the same bits again tell nothing new, after a restart either."""
    releases = Releases(on_arrival=True)
    for digest in ("d", "d", "stale"):
        releases.arrived("a", digest)
    releases.folded("a")
    assert releases.counts == {"a": 2}
    again = Releases(on_arrival=True)
    again.restore(releases.state())
    again.arrived("a", "d")
    again.lost("a", "stale")
    assert again.counts == {"a": 2}
    again.lost("a", "from a lost round")
    assert again.counts == {"a": 3}
    assert again.knows("a", "from a lost round")
    assert not again.knows("b", "d")


def test_what_is_remembered_is_bounded_and_errs_upwards() -> None:
    """One forgotten that comes again counts again."""
    releases = Releases(on_arrival=True)
    for number in range(RECENT + 1):
        releases.arrived("a", str(number))
    releases.arrived("a", "0")
    assert releases.counts == {"a": RECENT + 2}
    assert len(releases.state()["recent"]["a"]) == RECENT

"""Facts about what a private run counts as known, refused and lost updates among it."""

from fanfold.coordinator.aggregation.privacy_ledger import RECENT, PrivacyLedger


def test_noise_of_the_coordinator_is_counted_by_sums() -> None:
    """The same update in two sums meets two noises; one that only arrived meets none."""
    privacy_ledger = PrivacyLedger(on_arrival=False)
    privacy_ledger.arrived("a", "d")
    assert privacy_ledger.counts == {}
    privacy_ledger.folded("a")
    privacy_ledger.folded("a")
    assert privacy_ledger.counts == {"a": 2}
    privacy_ledger.lost("a", "d")
    assert privacy_ledger.counts == {"a": 3}


def test_noise_of_a_participant_is_counted_by_what_came() -> None:
    """Refused or not; and the same bits again tell nothing new, after a restart either."""
    privacy_ledger = PrivacyLedger(on_arrival=True)
    for digest in ("d", "d", "stale"):
        privacy_ledger.arrived("a", digest)
    privacy_ledger.folded("a")
    assert privacy_ledger.counts == {"a": 2}
    again = PrivacyLedger(on_arrival=True)
    again.restore(privacy_ledger.state())
    again.arrived("a", "d")
    again.lost("a", "stale")
    assert again.counts == {"a": 2}
    again.lost("a", "from a lost round")
    assert again.counts == {"a": 3}
    assert again.knows("a", "from a lost round")
    assert not again.knows("b", "d")


def test_what_is_remembered_is_bounded_and_errs_upwards() -> None:
    """One forgotten that comes again counts again."""
    privacy_ledger = PrivacyLedger(on_arrival=True)
    for number in range(RECENT + 1):
        privacy_ledger.arrived("a", str(number))
    privacy_ledger.arrived("a", "0")
    assert privacy_ledger.counts == {"a": RECENT + 2}
    assert len(privacy_ledger.state()["recent"]["a"]) == RECENT

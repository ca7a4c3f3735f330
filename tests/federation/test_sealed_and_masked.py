"""Facts about runs that are sealed and masked together, and whose coordinator changes its keys."""

import pytest

from fanfold.cli.identity_commands import rotate
from fanfold.sealing.audit_trail import checked_lines
from fanfold.sealing.identity import PublicIdentity
from tests.federation.masked_federation import Make

PATIENCE_SECONDS = 90


@pytest.mark.parametrize(("mode", "num_keepers"), [("buffered", 1), ("sync", 3)])
def test_a_run_is_sealed_and_masked_at_once(masked: Make, mode: str, num_keepers: int) -> None:
    """It ends at the bits of the same run in clear; who took part is in the audit trail."""
    made = masked(num_keepers)
    for place in range(num_keepers):
        made.keeper(place)
    coordinator = made.coordinator(mode=mode, identity=made.hub)
    made.participants(sealed=True)
    result = coordinator.result.result(PATIENCE_SECONDS)
    replayed = made.replayed()
    assert replayed.agrees
    assert replayed.parameters_sha256 == result.parameters_sha256
    assert {each.record["participant"] for each in checked_lines(made.hub / "audit.jsonl")} == {
        "p0",
        "p1",
    }


def test_a_run_goes_on_after_its_coordinator_changed_its_keys(masked: Make) -> None:
    """Who pins the old ones believes nothing and is not believed; who pins the new ones goes on.

    At once, also where the start before dropped the newest version unread: in every second run the
    first coordinator stops with a full round, and the second publishes what that makes of it.
    """
    made = masked(1)
    made.keeper()
    first = made.coordinator(identity=made.hub, rounds=10**6)
    before = made.participants(sealed=True)
    first.wait_for("round_closed", 2)
    first.stop("its keys change")
    assert not first.result.result(PATIENCE_SECONDS).is_finished
    old = PublicIdentity.read(made.hub)
    rotate(None, coordinator=True, public=None, roster=made.hub)
    assert PublicIdentity.read(made.hub) != old
    closed = len(first.all("round_closed"))
    second = made.coordinator(identity=made.hub, rounds=closed + 3)
    refused = second.wait_for("message_refused")[0]
    assert "is not what was sealed" in refused["reason"]
    for each in before:
        each.stop("it pins the new keys")
        each.result.result(PATIENCE_SECONDS)
    # What the first had taken from both before it stopped is one round; old keys add nothing to it.
    assert len(second.all("round_closed")) <= 1
    made.participants(sealed=True)
    assert second.result.result(PATIENCE_SECONDS).rounds == closed + 3
    assert made.replayed().agrees
    rotated = [each.record for each in checked_lines(made.hub / "audit.jsonl")]
    assert ("rotated", "coordinator") in [(each["event"], each["participant"]) for each in rotated]

"""Facts about who is sent a version where stale updates count: those who wait, and nobody else."""

from pathlib import Path

import pytest

from fanfold.coordinator.broker import publisher
from fanfold.coordinator.rounds.sent_versions import SentVersions
from fanfold.schemas.messages import Progress
from tests.coordinator.fake_broker import FakeBroker

NAMES = frozenset({"ann", "bob", "cid"})


def all_sent(version: int) -> SentVersions:
    versions = SentVersions()
    versions.sent(NAMES, version)
    return versions


def test_before_anything_is_known_a_version_goes_to_everybody() -> None:
    """Nobody is at work: one message through the fanout exchange reaches those not heard of."""
    assert SentVersions().receivers(NAMES, NAMES) is None


def test_who_is_at_work_gets_a_version_when_it_answers() -> None:
    """Two of three train on version 4 while the third made version 5."""
    versions = all_sent(4)
    versions.answered("ann", 4, current=4)
    assert versions.receivers(NAMES, NAMES) == {"ann"}
    versions.sent(["ann"], 5)
    versions.answered("bob", 4, current=5)
    assert versions.behind == {"bob"}
    assert versions.receivers(NAMES, NAMES) == {"bob"}


def test_who_answered_the_current_version_waits_for_the_next() -> None:
    """There is nothing newer to send it yet."""
    versions = all_sent(4)
    versions.answered("ann", 4, current=4)
    assert not versions.behind


def test_an_answer_to_an_older_version_than_was_sent_leaves_a_participant_at_work() -> None:
    """The newer one lies in its queue."""
    versions = all_sent(4)
    versions.sent(["ann"], 6)
    versions.answered("ann", 4, current=6)
    assert versions.receivers(NAMES, NAMES) is not None
    assert "ann" not in (versions.receivers(NAMES, NAMES) or ())


def test_one_that_comes_back_or_joins_gets_the_next_version() -> None:
    """Nothing is known of what it holds."""
    versions = all_sent(4)
    versions.forget(["ann"])
    assert versions.receivers(NAMES | {"dan"}, NAMES) == {"ann", "dan"}


def test_one_that_left_finds_the_newest_version_in_its_queue() -> None:
    """It is not present, and its queue is there."""
    versions = all_sent(4)
    versions.forget(["ann"])
    versions.sent(["ann"], 5)
    assert versions.receivers(NAMES - {"ann"}, NAMES) == {"ann"}


def test_what_was_taken_back_was_not_sent() -> None:
    """The round closed before it began to go out."""
    versions = all_sent(4)
    versions.answered("ann", 4, current=5)
    versions.sent(["ann"], 5)
    versions.taken_back(["ann"])
    assert versions.receivers(NAMES, NAMES) == {"ann"}


def asynchronous(broker: FakeBroker, sent: list[tuple[str, int]]) -> None:
    """Let ann answer whatever it gets, and the others nothing; note who gets what one by one."""
    broker.hello(*NAMES)

    def answer(participant: str, version: int) -> None:
        sent.append((participant, version))
        if participant == "ann":
            broker.update("ann", version)

    broker.on_version = lambda version: broker.update("ann", version)
    broker.on_resent = answer


def test_rounds_that_one_participant_closes_cost_the_others_nothing(tmp_path: Path) -> None:
    """The slow ones are sent no version that they could not begin with."""
    broker, sent = FakeBroker(tmp_path), list[tuple[str, int]]()
    asynchronous(broker, sent)
    assert broker.run(rounds=5, mode="async", min_participants=3).is_finished
    assert list(broker.base_digests) == [0, 1, 2, 3, 4]
    assert [each for each in sent if each[1] > 0] == [("ann", version) for version in (1, 2, 3, 4)]
    sizes = [each["bytes_down"] for each in broker.all("round_closed")]
    assert sizes[1:] == [sizes[0] // 3] * 4


def test_who_says_that_it_waits_with_an_older_version_is_sent_the_current_one(
    tmp_path: Path,
) -> None:
    """Its update was lost: nothing else tells the coordinator that it has nothing to do."""
    broker, sent = FakeBroker(tmp_path), list[tuple[str, int]]()
    asynchronous(broker, sent)
    ask_ann = broker.on_resent

    def answer(participant: str, version: int) -> None:
        if (participant, version) == ("ann", 3):
            sent.append(("ann", 3))
            fields = {"instance": "i", "run": broker.run_id, "version": 0, "phase": "waiting"}
            broker.tell(Progress.model_validate({"participant": "bob", **fields}))
        elif participant == "bob" and version > 0:
            sent.append((participant, version))
            broker.update("bob", version)
        else:
            ask_ann(participant, version)

    broker.on_resent = answer
    assert broker.run(rounds=4, mode="async", min_participants=3).is_finished
    assert ("bob", 3) in sent


def test_the_names_of_those_who_get_a_version_fit_into_one_frame() -> None:
    """A header longer than a frame would end the coordinator's connection."""
    longest_name = 64 + 5
    assert publisher.MOST_TOGETHER * longest_name < 32 * 1024


def test_a_version_for_many_goes_out_in_groups(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of a sample gets it once."""
    monkeypatch.setattr(publisher, "MOST_TOGETHER", 2)
    broker, sent = FakeBroker(tmp_path), list[str]()
    names = [f"p{index}" for index in range(8)]
    broker.hello(*names)

    def answer(participant: str, version: int) -> None:
        sent.append(participant)
        broker.update(participant, version)

    broker.on_resent = answer
    assert broker.run(rounds=1, fraction=0.6, min_participants=8).is_finished
    assert len(sent) == len(set(sent)) == 5


def test_after_a_loss_each_may_lack_its_version_until_it_is_sent_another() -> None:
    """The broker was restarted: also who was never heard of may find its queue empty."""
    versions = all_sent(4)
    assert not versions.may_lack("ann")
    versions.lost()
    versions.sent(["ann"], 4)
    assert [versions.may_lack(name) for name in ("ann", "bob", "absent")] == [False, True, True]
    versions.sent_to_all()
    assert not versions.may_lack("bob")


def test_what_was_taken_back_or_forgotten_after_a_loss_may_lack_again() -> None:
    """Then nothing is on its way to them."""
    versions = all_sent(4)
    versions.lost()
    versions.sent(NAMES, 5)
    versions.taken_back(["ann"])
    versions.forget(["bob"])
    assert [versions.may_lack(name) for name in ("ann", "bob", "cid")] == [True, True, False]
    versions.lost()
    assert versions.may_lack("cid")


def test_who_answers_while_its_version_waits_to_go_once_more_is_no_mistake() -> None:
    """It held the version, and said so too late: what is taken back then is nothing."""
    versions = all_sent(4)
    versions.lost()
    versions.sent(["ann"], 4)
    versions.answered("ann", 4, current=4)
    versions.taken_back(["ann"])
    assert not versions.behind

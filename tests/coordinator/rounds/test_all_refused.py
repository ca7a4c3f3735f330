"""Facts about rounds whose updates are refused: nobody waits for ever, and everybody hears why."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from fanfold.coordinator.aggregation.refusals import in_words
from fanfold.coordinator.rounds.closing_rule import OpenRound, RoundPolicy
from fanfold.coordinator.rounds.sampling import draw
from fanfold.coordinator.upkeep import NEW_TRY_SECONDS, AllRefusedError
from fanfold.schemas.chunking import cut
from fanfold.schemas.message_codec import encode
from fanfold.schemas.messages import Goodbye, Update
from tests.coordinator.fake_broker import FakeBroker

NAN = math.nan


@pytest.fixture
def broker(tmp_path: Path) -> FakeBroker:
    broker = FakeBroker(tmp_path)
    broker.hello("ann", "bob")

    def answer(version: int) -> None:
        for participant in ("ann", "bob"):
            broker.update(participant, version, NAN)

    broker.on_version = answer
    return broker


def once(broker: FakeBroker, event: str, action: Callable[[], object]) -> None:
    """Do something when an event is said for the first time."""

    def react(said: str) -> None:
        if said == event and len(broker.all(event)) == 1:
            action()

    broker.on_said = react


def test_the_run_ends_in_words_when_everybody_was_refused(broker: FakeBroker) -> None:
    """It says so at once, and gives others half a minute; the deadline is ten away."""
    words = (
        r"round 1 can never close: .*non-finite values: in '.*' \(ann, bob\); mend .* same --out"
    )
    with pytest.raises(AllRefusedError, match=words):
        broker.run(rounds=1, min_participants=2)
    (told,) = broker.all("all_refused")
    assert (told["round"], told["for"]) == (1, "others for 30 s")
    assert "(ann, bob)" in told["refused"]
    assert broker.clock.now <= 1000 + NEW_TRY_SECONDS + 1
    assert not broker.all("waiting")[1:]  # the first one is for participants


def test_it_goes_on_from_where_it_stood_with_participants_that_were_mended(
    broker: FakeBroker, tmp_path: Path
) -> None:
    """The same folder, the same version."""
    with pytest.raises(AllRefusedError, match="goes on from version 0"):
        broker.run(rounds=1, min_participants=2)
    again = FakeBroker(tmp_path)
    again.on_version = lambda version: [again.update(each, version) for each in ("ann", "bob")]
    assert again.run(rounds=1, min_participants=2).is_finished


def test_a_newcomer_makes_the_round_close_and_the_others_are_named(broker: FakeBroker) -> None:
    """No round leaves out who is present without a word."""
    once(broker, "all_refused", lambda: broker.hello("cid"))
    broker.on_resent = broker.update
    assert broker.run(rounds=1, min_participants=2).is_finished
    assert [each["updates"] for each in broker.all("round_closed")] == [1]
    (left_out,) = broker.all("participants_left_out")
    assert (left_out["participants"], left_out["present"]) == (2, 3)
    assert "non-finite" in left_out["refused"]
    (closed,) = broker.all("round_closed")
    assert closed["left_out"].keys() == {"ann", "bob"}


def test_who_leaves_after_a_refusal_is_named_too(broker: FakeBroker) -> None:
    """The round was without it, whether it waits for the close or not."""

    def others_come() -> None:
        broker.tell(Goodbye(participant="ann", instance="i"))
        broker.hello("cid")

    once(broker, "all_refused", others_come)
    broker.on_resent = broker.update
    assert broker.run(rounds=1, min_participants=2).left_out == {"ann": 1, "bob": 1}
    (left_out,) = broker.all("participants_left_out")
    assert (left_out["participants"], left_out["present"]) == (2, 3)
    (closed,) = broker.all("round_closed")
    assert closed["left_out"].keys() == {"ann", "bob"}


def test_who_was_started_anew_after_a_refusal_is_sent_the_version_again(
    broker: FakeBroker,
) -> None:
    """Its data may be mended. Who only says hello again is not: it would train the same."""

    def return_anew() -> None:
        broker.hello("bob", consuming=True)
        broker.hello("ann", instance="j", consuming=True)

    resent: list[str] = []

    def answer(participant: str, version: int) -> None:
        resent.append(participant)
        broker.update(participant, version)

    once(broker, "all_refused", return_anew)
    broker.on_resent = answer
    assert broker.run(rounds=1, min_participants=2).is_finished
    assert resent[-1] == "ann"
    assert "bob" not in resent[2:]
    assert [each["updates"] for each in broker.all("round_closed")] == [1]


def test_a_federation_that_is_to_wait_goes_on_with_the_reason_in_front(broker: FakeBroker) -> None:
    """Deadline after deadline, until somebody comes."""

    def come(event: str) -> None:
        if event == "waiting" and len(broker.all("waiting")) == 4:
            broker.hello("cid")

    broker.on_said = come
    broker.on_resent = broker.update
    outcome = broker.run(rounds=1, min_participants=2, deadline_seconds=60, when_all_refused="wait")
    assert outcome.is_finished
    assert len(broker.all("all_refused")) == 1
    waiting = broker.all("waiting")[1:]
    assert all("non-finite values" in each["refused"] for each in waiting)
    assert {each["for"] for each in waiting} == {"1 updates"}


def test_a_whole_update_that_is_none_is_an_answer_too(broker: FakeBroker) -> None:
    """Too large for this model, as where a buffer grows, or with tensors that nobody can read."""

    def answer(version: int) -> None:
        chunk = broker.chunks_of("ann", version)[0]
        broker.deliver("results", chunk, bytes=1 << 50)
        update = Update(
            run=broker.run_id,
            participant="bob",
            base_version=version,
            base_digest=broker.base_digests[version],
            num_examples=1,
        )
        (whole,) = cut(encode(update))
        odd = memoryview(b"?" + bytes(whole.body)[1:])
        (broken,) = cut(replace(encode(update), buffers=(odd,)))
        broker.deliver("results", broken)

    broker.on_version = answer
    with pytest.raises(AllRefusedError, match="malformed") as error:
        broker.run(rounds=1, min_participants=2)
    assert "(ann)" in str(error.value)
    assert "(bob)" in str(error.value)


def test_others_are_drawn_where_the_whole_sample_was_refused(broker: FakeBroker) -> None:
    """They are present, and nobody has tried them."""
    names = ("ann", "bob", "cid", "dan")
    drawn = draw(names, size=2, seed=5, round_number=1)
    broker.hello("cid", "dan")
    broker.on_version = lambda _version: None

    def answer(participant: str, version: int) -> None:
        broker.update(participant, version, NAN if participant in drawn else 0.125)

    broker.on_resent = answer
    assert broker.run(rounds=1, min_participants=4, fraction=0.5, seed=5).is_finished
    assert broker.all("all_refused") == []
    assert [each["updates"] for each in broker.all("round_closed")] == [1]


def test_the_dead_keep_no_round_open_for_ever(broker: FakeBroker) -> None:
    """Where all who live were refused and one was killed, two deadlines tell it."""
    broker.hello("cid")
    with pytest.raises(AllRefusedError, match=r"\(ann, bob\)"):
        broker.run(rounds=1, min_participants=3)
    assert broker.all("participant_silent") == [{"participant": "cid", "round": 1}]
    assert broker.clock.now <= 1000 + 2 * 600 + NEW_TRY_SECONDS + 1


def test_too_few_is_not_all_refused() -> None:
    """Where more must come in any case, the round waits for them."""
    opened = OpenRound(RoundPolicy(quorum=2), 1, expected=frozenset({"ann"}), opened_at=0.0)
    opened.refuse("ann", "too large", is_answer=True)
    assert not opened.is_refused_by_all({"ann"})
    opened.refuse("bob", "too large", is_answer=False)
    assert not opened.is_refused_by_all({"ann", "bob"})  # a better answer may come
    opened.refuse("bob", "too large", is_answer=True)
    assert opened.is_refused_by_all({"ann", "bob"})
    opened.left("cid", has_answered=True)
    assert not opened.is_refused_by_all({"ann", "bob"})


def test_reasons_are_told_by_how_many_they_concern() -> None:
    refused = {f"p{number}": "too large" for number in range(7)} | {"ann": "non-finite values"}
    assert in_words(refused) == (
        "too large (p0, p1, p2, p3, p4 and 2 more); non-finite values (ann)"
    )
    assert in_words({str(number): f"reason {number}" for number in range(5)}).endswith(
        "; and 2 reasons more"
    )

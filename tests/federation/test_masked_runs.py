"""Facts about masked runs over the broker: what is computed, who is waited for, who is refused."""

import json
from typing import Any

import pytest

from fanfold.coordinator.persistence.history import read_history
from fanfold.coordinator.reporter import Reporter
from fanfold.coordinator.unmasking import unmasking
from fanfold.coordinator.unmasking.unmasking import KeepersRefusedError
from fanfold.participant import masking
from fanfold.schemas.errors import InvalidInputError
from fanfold.sealing.identity import PRIVATE_FILE, PUBLIC_FILE, Identity
from fanfold.sealing.mask_seeds import seal_seeds
from tests.federation.masked_federation import Make

PATIENCE_SECONDS = 90


@pytest.mark.parametrize(("mode", "num_keepers"), [("sync", 1), ("buffered", 3)])
def test_a_masked_run_has_the_bits_of_the_same_run_unmasked(
    masked: Make, mode: str, num_keepers: int
) -> None:
    """Its history, replayed without masks, ends at its hash; weights by examples are in it, too."""
    made = masked(num_keepers)
    for place in range(num_keepers):
        made.keeper(place)
    coordinator = made.coordinator(mode=mode, max_examples=5)
    made.participants()
    result = coordinator.result.result(PATIENCE_SECONDS)
    replayed = made.replayed()
    assert replayed.agrees
    assert replayed.parameters_sha256 == result.parameters_sha256
    records = read_history(made.live.out / "history.jsonl")
    rounds = [each for each in records if each["event"] == "round"]
    told = [update for each in rounds for update in each["updates"]]
    assert {update["num_examples"] for update in told} == {1}
    assert all(not update["metrics"] for update in told)


def test_one_dead_keeper_of_three_is_not_waited_for_and_two_are_in_words(
    masked: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the second keeper the round goes on by itself, and the third is not missed."""
    monkeypatch.setattr(unmasking, "TELL_SECONDS", 0.2)
    made = masked(3)
    made.keeper(0)
    coordinator = made.coordinator()
    made.participants()
    (waiting,) = coordinator.wait_for("waiting_for_keepers")
    assert waiting["needed"] == 2
    assert len(waiting["silent"]) >= 2  # the first may not listen yet
    made.keeper(2)
    coordinator.result.result(PATIENCE_SECONDS)
    assert len(coordinator.all("waiting_for_keepers")) == 1
    assert made.replayed().agrees


def test_a_coordinator_that_ends_meanwhile_asks_again_for_the_same_set(
    masked: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What comes while the set is closed counts in the next round, and nothing twice."""
    monkeypatch.setattr(unmasking, "TELL_SECONDS", 0.2)
    made = masked(1)
    first = made.coordinator()
    made.participants()
    first.wait_for("waiting_for_keepers")
    first.stop("another one follows")
    assert not first.result.result(PATIENCE_SECONDS).is_finished
    second = made.coordinator()
    second.wait_for("waiting_for_keepers")
    made.keeper()
    second.result.result(PATIENCE_SECONDS)
    assert made.replayed().agrees
    journal = (made.keepers[0] / "state" / "journal.jsonl").read_text()
    assert journal.count('"event":"set"') == 3
    assert '"event":"refused"' not in journal


def test_rounds_after_a_closed_set_are_told_by_the_next_start(
    masked: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the one before was not evaluated yet when the coordinator ended."""
    monkeypatch.setattr(unmasking, "TELL_SECONDS", 0.2)
    made = masked(1)
    keeper = made.keeper()
    with monkeypatch.context() as patch:
        patch.setattr(Reporter, "evaluate_if_due", lambda _self: None)
        first = made.coordinator(rounds=10**6)
        (one, _) = made.participants()
        one.wait_for("update_sent", times=3)
        keeper.stop("it will be back")
        keeper.result.result(PATIENCE_SECONDS)
        first.wait_for("waiting_for_keepers")
        first.stop("another one follows")
        first.result.result(PATIENCE_SECONDS)
    rounds = one.all("update_sent")[-1]["version"] + 3
    second = made.coordinator(rounds=rounds)
    made.keeper()
    second.result.result(PATIENCE_SECONDS)
    told = [closed["round"] for closed in second.all("round_closed")]
    assert told == list(range(1, rounds + 1))


def test_keepers_that_refuse_end_the_run_in_words_and_it_goes_on_when_that_is_mended(
    masked: Make,
) -> None:
    """The round whose masks nobody tells changes nothing."""
    made = masked(1)
    keeper = made.keeper(masks_at_least=3)
    coordinator = made.coordinator()
    made.participants()
    words = "do not tell the masks of round 1, .* a set of 2, and this keeper answers for 3"
    with pytest.raises(KeepersRefusedError, match=words):
        coordinator.result.result(PATIENCE_SECONDS)
    keeper.stop("mended")
    keeper.result.result(PATIENCE_SECONDS)
    made.keeper()
    assert made.coordinator().result.result(PATIENCE_SECONDS).rounds == 3
    replayed = made.replayed()
    assert replayed.agrees
    assert replayed.updates == 4


@pytest.mark.slow
def test_a_participant_masks_for_the_keepers_that_its_owner_named_and_no_others(
    masked: Make, live: Any
) -> None:
    """Who named none sends nothing to a masked run, and who named some nothing to one without."""
    made = masked(1)
    made.coordinator(min_participants=1)
    trusting = live.participant("Tiny", 0, 2)
    with pytest.raises(InvalidInputError, match="name the keepers that you trust with --masks"):
        trusting.result.result(PATIENCE_SECONDS)
    other = made.folder / "other"
    Identity.generate().write(other)
    wary = live.participant(
        "Tiny", 1, 2, masks=(other / PUBLIC_FILE,), mask_identity=made.folder / "p1"
    )
    with pytest.raises(InvalidInputError, match="asks for other keepers, and --masks trusts no"):
        wary.result.result(PATIENCE_SECONDS)


def test_seeds_and_keys_stand_in_no_file_log_or_event(
    masked: Make, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, capfd: Any
) -> None:
    """Of participants and keepers, in hex and as bytes; seeds leave a participant sealed alone."""
    seeds: list[bytes] = []

    def recorded(*args: Any, **kwargs: Any) -> Any:
        sealed, drawn = seal_seeds(*args, **kwargs)
        seeds.extend(drawn)
        return sealed, drawn

    monkeypatch.setattr(masking, "seal_seeds", recorded)
    made = masked(3)
    services = [made.keeper(place) for place in range(3)]
    coordinator = made.coordinator()
    services += [coordinator, *made.participants()]
    coordinator.result.result(PATIENCE_SECONDS)
    folders = [*made.keepers, *(made.folder / f"p{index}" for index in range(2))]
    keys = [
        bytes.fromhex(secret)
        for folder in folders
        for secret in json.loads((folder / PRIVATE_FILE).read_bytes()).values()
    ]
    files = [
        path.read_bytes()
        for path in made.folder.parent.rglob("*")
        if path.is_file() and path.name != PRIVATE_FILE
    ]
    told = [repr(service.said).encode() for service in services]
    printed = "".join(capfd.readouterr()) + caplog.text
    everything = b"\n".join([*files, *told, printed.encode()])
    assert len(seeds) == 3 * 2 * 3
    assert len(keys) == 2 * 5
    assert b'"event":"set"' in everything  # the journals are among them
    assert b"round_closed" in everything
    found = [
        each for each in seeds + keys if each in everything or each.hex().encode() in everything
    ]
    assert found == []

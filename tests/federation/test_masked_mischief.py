"""Facts about members who mean harm in a masked run: each is noticed in words, or harmless."""

from collections.abc import Callable
from typing import Any

import pika
import pytest

from fanfold.coordinator.persistence.history import read_history
from fanfold.coordinator.unmasking.unmasking import KeepersRefusedError
from fanfold.participant import masking
from fanfold.schemas.chunking import Chunk, cut
from fanfold.schemas.keeper_messages import MasksWanted, Member
from fanfold.schemas.message_codec import encode
from fanfold.schemas.messages import MaskSeeds
from fanfold.schemas.names import FederationNames
from fanfold.sealing.identity import Identity, PublicIdentity
from fanfold.sealing.mask_seeds import seal_seeds
from tests.federation.masked_federation import Make, Masked

PATIENCE_SECONDS = 90
FLOOD = 300

Seal = Callable[..., tuple[MaskSeeds, list[bytes]]]


def for_others(keepers: list[PublicIdentity], own: Identity, **bound: Any) -> Any:
    """Seal seeds for somebody else than the keepers."""
    return seal_seeds([Identity.generate().public for _ in keepers], own, **bound)


def for_another_version(keepers: list[PublicIdentity], own: Identity, **bound: Any) -> Any:
    """Seal and sign seeds that belong into another set."""
    return seal_seeds(keepers, own, **{**bound, "base_version": bound["base_version"] + 1})


def with_a_foreign_signature(keepers: list[PublicIdentity], own: Identity, **bound: Any) -> Any:
    """Let somebody else sign them."""
    del own
    return seal_seeds(keepers, Identity.generate(), **bound)


def only_for_two(keepers: list[PublicIdentity], own: Identity, **bound: Any) -> Any:
    """Give the first keeper a box that it cannot open."""
    wrong = [Identity.generate().public, *keepers[1:]]
    return seal_seeds(wrong, own, **bound)


def harm(monkeypatch: pytest.MonkeyPatch, seal: Seal) -> None:
    """Let `p1` seal its seeds in this way."""

    def sealed(keepers: Any, own: Any, **bound: Any) -> Any:
        return (seal if bound["participant"] == "p1" else seal_seeds)(keepers, own, **bound)

    monkeypatch.setattr(masking, "seal_seeds", sealed)


@pytest.mark.parametrize(
    ("seal", "words"),
    [
        (for_others, "p1: its seeds are not sealed for this keeper and this update"),
        (for_another_version, "p1 has not signed these seeds for run .*, version 0"),
        (with_a_foreign_signature, "p1 has not signed these seeds for run .*, version 0"),
    ],
)
def test_whose_seeds_open_no_mask_is_named_and_changes_nothing(
    masked: Make, monkeypatch: pytest.MonkeyPatch, seal: Seal, words: str
) -> None:
    """The sum cannot be read without it, so that its round is lost, and the run says why."""
    harm(monkeypatch, seal)
    made = masked(1)
    made.keeper()
    coordinator = made.coordinator()
    made.participants()
    with pytest.raises(KeepersRefusedError, match=words):
        coordinator.result.result(PATIENCE_SECONDS)
    records = read_history(made.live.out / "history.jsonl")
    assert [each["round"] for each in records if each["event"] == "set_lost"] == [1]
    journal = (made.keepers[0] / "state" / "journal.jsonl").read_text()
    assert journal.count('"event":"refused"') == 1
    assert '"event":"set"' not in journal


def test_seeds_that_one_keeper_of_three_cannot_open_are_not_missed(
    masked: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other two have all of them; the one that refuses says whose they are."""
    harm(monkeypatch, only_for_two)
    made = masked(3)
    for place in range(3):
        made.keeper(place)
    coordinator = made.coordinator(rounds=2)
    made.participants()
    assert coordinator.result.result(PATIENCE_SECONDS).is_finished
    assert made.replayed().agrees


def send(made: Masked, queue: str, messages: list[tuple[str, dict[str, Any], bytes]]) -> None:
    """Put messages into a queue, as a broker's operator can."""
    with pika.BlockingConnection(pika.URLParameters(made.live.url)) as connection:
        channel = connection.channel()
        for kind, headers, body in messages:
            properties = pika.BasicProperties(type=kind, headers=headers)
            channel.basic_publish("", queue, body, properties)


def as_sent(chunk: Chunk) -> tuple[str, dict[str, Any], bytes]:
    return chunk.kind, dict(chunk.headers), bytes(chunk.body)


def test_a_flooded_keeper_answers_and_its_journal_names_what_it_refused(masked: Make) -> None:
    """Nonsense, requests that never go on, and sets of one, before each round's own request."""
    made = masked(1)
    seeds, _ = seal_seeds(
        [Identity.generate().public],
        Identity.generate(),
        run="r1",
        participant="p0",
        base_version=0,
        words=6,
    )
    one = MasksWanted(
        run="r1",
        version=0,
        words=6,
        members=[Member(participant="p0", base_version=0, seeds=seeds)],
        seeds=(0,),
    )
    (whole,) = cut(encode(one))
    crowd = one.model_copy(update={"members": [one.members[0]] * 100})
    begun = cut(encode(crowd), chunk_bytes=1024)[0]
    flood = [("Nonsense", {}, b"x"), as_sent(begun), as_sent(whole)] * FLOOD
    coordinator = made.coordinator()
    coordinator.wait_for("waiting")  # by then it has made the keeper's queue
    queue = FederationNames(made.live.name).keeper_queue(PublicIdentity.read(made.masks[0]).name)
    send(made, queue, flood)
    keeper = made.keeper()
    made.participants()
    assert coordinator.result.result(PATIENCE_SECONDS).rounds == 3
    assert made.replayed().agrees
    refused = keeper.all("set_refused")
    assert len(refused) == FLOOD
    assert "a set of 1, and this keeper answers for 2" in refused[0]["reason"]
    journal = (made.keepers[0] / "state" / "journal.jsonl").read_text()
    assert journal.count('"event":"set"') == 3

"""Facts about the two ends of a sealed federation: what is believed, and what is not."""

import stat
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from blake3 import blake3
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fanfold.schemas.border import IN_CLEAR, Border
from fanfold.schemas.chunking import Assembly, Chunk, ChunkHeader
from fanfold.schemas.errors import InvalidInputError, MalformedMessageError
from fanfold.schemas.message_codec import encode
from fanfold.schemas.messages import (
    GlobalParameters,
    Goodbye,
    Hello,
    Message,
    RunFinished,
    TrainingPlan,
    Update,
    UpdateRefused,
)
from fanfold.schemas.reader_limits import ReaderLimits
from fanfold.sealing.coordinator_border import CoordinatorBorder
from fanfold.sealing.identity import Identity
from fanfold.sealing.participant_border import ParticipantBorder
from fanfold.sealing.roster import RosterFile, changing
from fanfold.sealing.run_keys import RunKeys
from fanfold.sealing.signing import signed_chunks

LIMITS = ReaderLimits(max_bytes=1 << 20)
HUB, ALICE, BOB, EVE = (Identity.generate() for _ in range(4))
VERSION = GlobalParameters(run="r1", version=3, rounds=9, plan=TrainingPlan())
UPDATE = Update(
    run="r1", participant="alice", base_version=3, base_digest="0" * 64, num_examples=719
)
HELLO = Hello(participant="alice", instance="one", device="secret-device", num_examples=719)
REFUSED = UpdateRefused(run="r1", base_version=3, reason="secret-reason")
FINISHED = RunFinished(run="r1", version=3)


class Place:
    """A coordinator whose roster has alice and bob, and their ends."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with changing(folder) as held:
            held[0] = held[0].enroll("alice", ALICE.public).enroll("bob", BOB.public)
        self.hub = self.coordinator()
        self.alice, self.bob = self.participant("alice", ALICE), self.participant("bob", BOB)

    def coordinator(self, federation: str = "F", identity: Identity = HUB) -> CoordinatorBorder:
        border = CoordinatorBorder(
            identity,
            roster=RosterFile(self.folder),
            keys=RunKeys(self.folder),
            federation=federation,
        )
        border.prepare("r1", 3, is_known=False)
        return border

    def participant(self, name: str, identity: Identity) -> ParticipantBorder:
        return ParticipantBorder(
            identity, coordinator=HUB.public, participant=name, federation="F", first_serial=7
        )

    def revoke(self, name: str) -> None:
        with changing(self.folder) as held:
            held[0] = held[0].revoke(name)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def chunk_of(border: Border, message: Message, **options: Any) -> Chunk:
    (chunk,) = border.seal(encode(message), **options)
    return chunk


def read(border: Border, chunk: Chunk, **headers: object) -> Message:
    """Read a message as a service does, perhaps with other headers."""
    header = ChunkHeader.parse(
        chunk.kind, {**chunk.headers, **headers}, len(chunk.body), border.limits(LIMITS)
    )
    problem = border.problem(header)
    if problem is not None:
        raise MalformedMessageError(problem)
    assembly = Assembly(header, LIMITS)
    assembly.add(header, chunk.body)
    assembly.unseal(border.opener(header))
    return assembly.decode().message


@pytest.mark.parametrize("message", [UPDATE, HELLO, Goodbye(participant="alice", instance="1")])
def test_the_coordinator_reads_what_a_participant_seals(place: Place, message: Message) -> None:
    chunk = chunk_of(place.alice, message)
    assert read(place.hub, chunk) == message
    assert "examples" not in chunk.headers
    for secret in (b"secret-device", b"num_examples", b"WRRN", b"base_digest"):
        assert secret not in bytes(chunk.body)


@pytest.mark.parametrize("message", [VERSION, FINISHED])
def test_everybody_on_the_roster_reads_what_is_for_everybody(
    place: Place, message: Message
) -> None:
    chunk = chunk_of(place.hub, message, epoch=1)
    assert read(place.alice, chunk) == read(place.bob, chunk) == message
    with pytest.raises(MalformedMessageError, match="run's key is not sealed for eve"):
        read(place.participant("eve", EVE), chunk)


def test_one_alone_reads_what_is_for_one(place: Place) -> None:
    chunk = chunk_of(place.hub, REFUSED, epoch=1, to="alice")
    assert read(place.alice, chunk) == REFUSED
    assert b"secret-reason" not in bytes(chunk.body)
    with pytest.raises(MalformedMessageError, match="not signed by the coordinator that this"):
        read(place.bob, chunk)
    assert place.hub.seal(encode(REFUSED), to="eve") == []


CHANGES: dict[str, object] = {
    "digest": "1" * 64,
    "run": "r2",
    "version": 4,
    "participant": "bob",
    "epoch": 2,
    "serial": 99,
    "content": "1" * 64,
    "signature": "0" * 128,
    "chunk_bytes": 4096,
}


@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.parametrize("message", [UPDATE, HELLO, VERSION, FINISHED, REFUSED])
def test_no_header_can_be_changed(place: Place, message: Message, name: str) -> None:
    """Each one is signed, whether or not the message has it."""
    if message.KIND in (UPDATE.KIND, HELLO.KIND):
        writer: Border = place.alice
        reader: Border = place.hub
        options: dict[str, Any] = {}
    else:
        writer, reader = place.hub, place.alice
        options = {"epoch": 1, "to": "alice" if message is REFUSED else None}
    chunk = chunk_of(writer, message, **options)
    assert read(reader, chunk) == message
    with pytest.raises(MalformedMessageError, match=r"is not signed (by|with)|another digest"):
        read(reader, chunk, **{name: CHANGES[name]})


def test_no_message_can_be_moved(place: Place, tmp_path: Path) -> None:
    """To another federation, under another kind, to another sender's name."""
    with pytest.raises(MalformedMessageError, match="is not signed with the keys of alice"):
        read(place.coordinator("G"), chunk_of(place.alice, HELLO))
    hello = chunk_of(place.alice, HELLO)
    header = replace(hello.header, whole=replace(hello.header.whole, kind="Goodbye"))
    with pytest.raises(MalformedMessageError, match="Goodbye is not signed with the keys"):
        read(place.hub, Chunk(header, hello.body))
    with pytest.raises(MalformedMessageError, match="Hello is nothing that a coordinator says"):
        read(place.alice, hello)
    with pytest.raises(MalformedMessageError, match="is not signed by the coordinator that"):
        read(place.alice, chunk_of(place.coordinator(identity=EVE), VERSION, epoch=1))


def test_a_member_cannot_pass_on_anothers_update_as_its_own(place: Place) -> None:
    """Signed anew it opens no longer: the key is bound to who sealed it."""
    stolen = chunk_of(place.alice, UPDATE)
    mine = UPDATE.model_copy(update={"participant": "bob"})
    (forged,) = signed_chunks(
        mine,
        memoryview(bytes(stolen.body)),
        identity=BOB,
        federation="F",
        to="coordinator",
        serial=0,
        chunk_bytes=4 << 20,
    )
    with pytest.raises(MalformedMessageError, match="is not what was sealed"):
        read(place.hub, forged)


def test_nothing_in_clear_crosses_and_nothing_sealed_is_read_without_keys(place: Place) -> None:
    with pytest.raises(MalformedMessageError, match="came in clear, and this federation seals"):
        read(place.hub, chunk_of(IN_CLEAR, HELLO))
    with pytest.raises(MalformedMessageError, match="came in clear, and this federation seals"):
        read(place.alice, chunk_of(IN_CLEAR, VERSION, epoch=1))
    with pytest.raises(MalformedMessageError, match="start it with --identity"):
        read(IN_CLEAR, chunk_of(place.alice, HELLO))


def test_the_same_update_is_sealed_to_the_same_bytes(place: Place) -> None:
    """So that it is recognised when it comes again, after a restart too; an event is not."""
    again = place.participant("alice", ALICE)
    assert bytes(chunk_of(place.alice, UPDATE).body) == bytes(chunk_of(again, UPDATE).body)
    assert chunk_of(place.alice, UPDATE).headers == chunk_of(again, UPDATE).headers
    other = UPDATE.model_copy(update={"num_examples": 720})
    assert (
        bytes(chunk_of(place.alice, UPDATE).body)[:40]
        != bytes(chunk_of(place.alice, other).body)[:40]
    )
    hellos = [chunk_of(place.alice, HELLO) for _ in range(2)]
    assert bytes(hellos[0].body) != bytes(hellos[1].body)
    assert hellos[0].headers["serial"] < hellos[1].headers["serial"]


def test_a_restarted_coordinator_seals_the_same_version_to_the_same_bytes(place: Place) -> None:
    """The key lies in a file of its owner's; only epoch, serial and signature differ."""
    before, after = (
        chunk_of(hub, VERSION, epoch=epoch)
        for hub, epoch in ((place.hub, 1), (place.coordinator(), 2))
    )
    assert bytes(before.body) == bytes(after.body)
    assert before.header.content == after.header.content
    path = place.folder / "run-keys.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.write_text("{}")
    with pytest.raises(InvalidInputError, match="is damaged; take it from a backup"):
        place.coordinator()


def test_who_is_revoked_reads_nothing_from_the_next_version_on(place: Place) -> None:
    """The open version keeps its key, so that those who train on it still know it."""
    content = chunk_of(place.hub, VERSION, epoch=1).header.content
    place.revoke("bob")
    place.hub.prepare("r1", 3, is_known=True)
    assert chunk_of(place.hub, VERSION, epoch=1).header.content == content
    place.hub.prepare("r1", 4, is_known=False)
    following = VERSION.model_copy(update={"version": 4})
    chunk = chunk_of(place.hub, following, epoch=1)
    assert read(place.alice, chunk) == following
    with pytest.raises(MalformedMessageError, match="run's key is not sealed for bob"):
        read(place.bob, chunk)
    with pytest.raises(MalformedMessageError, match="bob is not on the roster"):
        read(place.hub, chunk_of(place.bob, HELLO.model_copy(update={"participant": "bob"})))


def test_who_is_enrolled_meanwhile_reads_the_open_version(place: Place) -> None:
    """It is the same for all others: its content has the same name."""
    before, revision = chunk_of(place.hub, VERSION, epoch=1), place.hub.revision
    with changing(place.folder) as held:
        held[0] = held[0].enroll("eve", EVE.public)
    assert place.hub.revision != revision
    after = chunk_of(place.hub, VERSION, epoch=1)
    assert read(place.participant("eve", EVE), after) == VERSION
    assert before.header.content == after.header.content
    assert before.headers["serial"] < after.headers["serial"]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.data())
def test_a_body_that_was_touched_is_noticed(place: Place, data: st.DataObject) -> None:
    """Even with the digest of its chunk set right again."""
    chunk = chunk_of(place.alice, UPDATE)
    body = bytearray(chunk.body)
    body[data.draw(st.integers(min_value=0, max_value=len(body) - 1))] ^= 1 << data.draw(
        st.integers(min_value=0, max_value=7)
    )
    forged = replace(chunk.header, chunk_digest=blake3(body).digest())
    with pytest.raises(MalformedMessageError, match="the digest of the whole message is wrong"):
        read(place.hub, Chunk(forged, bytes(body)))

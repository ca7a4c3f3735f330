"""What a broker's operator sees of a sealed run, and what comes of what it does to a message."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from nodes import BrokerNode
from safetensors.torch import load_file

from fanfold.sealing.audit_trail import checked_lines
from tests.sealing.known_task import METRIC, NUM_TENSORS, name, value
from tests.sealing.relay import Relay, Relayed, Rule, Ward

TINY, KNOWN = "tests.federation.tiny_tasks:Tiny", "tests.sealing.known_task:Known"
ROUNDS = 5
FILE = "patients-of-ward-nine.csv"
KINDS = ("GlobalParameters", "Update", "Hello", "Progress", "RunFinished")


@pytest.fixture
def ward(broker_node: BrokerNode, tmp_path: Path) -> Iterator[Ward]:
    with ThreadPoolExecutor(max_workers=8) as threads:
        built = Ward(broker_node, tmp_path, threads)
        try:
            yield built
        finally:
            built.close()


def told(messages: Sequence[Relayed]) -> bytes:
    """Everything that an operator has of messages: bodies, properties and headers."""
    return b"\n".join(
        message.body + repr(vars(message.properties)).encode() for message in messages
    )


def secrets_of(model: Path) -> dict[str, bytes]:
    """What must not be found, by what it is: names, and tensors before and after training."""
    trained = load_file(model)
    return {
        "a name of a metric": METRIC.encode(),
        "another one": b"accuracy",
        "the name of a file": FILE.encode(),
        "the device": b"device\xa3cpu",  # three letters alone are in random bytes by chance
        "the plan": b"batch_size",
        **{f"the name {name(index)}": name(index).encode() for index in range(NUM_TENSORS)},
        **{f"tensor {index}": value(index).numpy().tobytes() for index in range(NUM_TENSORS)},
        **{f"trained {each}": tensor.numpy().tobytes() for each, tensor in trained.items()},
    }


def found(secrets: dict[str, bytes], text: bytes) -> list[str]:
    return [what for what, secret in secrets.items() if secret in text]


def run_with_a_file(ward: Ward, *, sealed: bool) -> None:
    """Run to the end, and let a participant leave with the name of a file in its goodbye."""
    ward.run(KNOWN, sealed=sealed, rounds=2)
    ward.relay.wait_for("Progress")
    ward.services[1].stop(f"cannot read {FILE}")
    ward.services[1].result.result(60)
    ward.relay.wait_for("Goodbye")


@pytest.mark.slow
def test_a_tap_finds_nothing_in_a_sealed_run(ward: Ward) -> None:
    """Neither in what moves nor in the broker's files; in clear the same tap finds all of it."""
    run_with_a_file(ward, sealed=True)
    secrets = secrets_of(ward.folder / "out" / "model.safetensors")
    kinds = {message.kind for message in ward.relay.seen}
    assert kinds >= {*KINDS, "Goodbye"}
    assert found(secrets, told(ward.relay.seen)) == []
    stored = b"".join(path.read_bytes() for path in ward._node._folder.rglob("*") if path.is_file())
    tensors = {what: secret for what, secret in secrets.items() if "tensor" in what}
    assert len(tensors) == NUM_TENSORS
    assert found(tensors, stored) == []


@pytest.mark.slow
def test_the_same_tap_finds_everything_in_clear(ward: Ward) -> None:
    run_with_a_file(ward, sealed=False)
    secrets = secrets_of(ward.folder / "out" / "model.safetensors")
    missing = secrets.keys() - set(found(secrets, told(ward.relay.seen)))
    assert {what for what in missing if not what.startswith("trained")} == set()


@pytest.mark.slow
def test_the_last_model_is_sealed_too(ward: Ward) -> None:
    """Who has the keys keeps it, and the tap finds nothing of it."""
    hub = ward.coordinator(KNOWN, rounds=2, publish_final=True)
    keeps = ward.participant(KNOWN, 0, state_dir=ward.folder / "state")
    ward.participant(KNOWN, 1)
    outcome = hub.result.result(90)
    (kept,) = keeps.wait_for("final_model_kept")
    ours, theirs = load_file(outcome.model), load_file(kept["model"])
    assert {name: each.tolist() for name, each in ours.items()} == {
        name: each.tolist() for name, each in theirs.items()
    }
    assert "FinalModel" in {message.kind for message in ward.relay.seen}
    assert found(secrets_of(outcome.model), told(ward.relay.seen)) == []


class Once:
    """Does something to one message of each kind, the second that comes, and lets others pass."""

    def __init__(self, act: Rule) -> None:
        self._act = act
        self._seen: dict[str, int] = {}
        self.done: list[str] = []

    def __call__(self, message: Relayed) -> Sequence[Relayed]:
        self._seen[message.kind] = self._seen.get(message.kind, 0) + 1
        # Of what comes to the end of a run there is but one.
        turn = 1 if message.kind == "RunFinished" else 2
        if message.kind not in KINDS or self._seen[message.kind] != turn:
            return [message]
        self.done.append(message.kind)
        return self._act(message)


def changed_body(message: Relayed) -> Sequence[Relayed]:
    body = bytearray(message.body)
    body[len(body) // 2] ^= 1
    return [Relayed(message.to, message.key, message.properties, bytes(body))]


def changed_labels(message: Relayed) -> Sequence[Relayed]:
    headers = message.properties.headers or {}
    return [message.with_headers(version=int(headers.get("version", 0)) + 1)]


def renamed(message: Relayed) -> Sequence[Relayed]:
    """A participant's becomes the other's; the coordinator's gets a new epoch."""
    headers = message.properties.headers or {}
    other = {"p0": "p1", "p1": "p0"}.get(str(headers.get("participant")))
    return [message.with_headers(participant=other) if other else message.with_headers(epoch=9)]


def dropped(_message: Relayed) -> Sequence[Relayed]:
    return []


def doubled(message: Relayed) -> Sequence[Relayed]:
    return [message] * 3


def bare(message: Relayed) -> Sequence[Relayed]:
    """Without its signature, and then itself."""
    headers = {
        name: each
        for name, each in (message.properties.headers or {}).items()
        if name != "signature"
    }
    stripped = message.with_headers()
    stripped.properties.headers = headers
    return [stripped, message]


ACTS = (changed_body, changed_labels, renamed, dropped, doubled, bare)


@pytest.fixture(scope="module")
def undisturbed(broker_node: BrokerNode, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The hash of the parameters that nobody disturbed, in clear."""
    with ThreadPoolExecutor(max_workers=8) as threads:
        ward = Ward(broker_node, tmp_path_factory.mktemp("undisturbed"), threads)
        try:
            return str(
                ward.run(TINY, sealed=False, rounds=ROUNDS).result.result().parameters_sha256
            )
        finally:
            ward.close()


@pytest.mark.slow
@pytest.mark.parametrize("act", ACTS, ids=[act.__name__ for act in ACTS])
def test_whatever_is_done_to_a_message_the_run_is_the_same(
    ward: Ward, undisturbed: str, act: Rule
) -> None:
    """A message of each kind is touched; it is refused, or harmless, and never obeyed."""
    ward.relay.rule = once = Once(act)
    hub = ward.run(TINY, rounds=ROUNDS)
    assert {*once.done} >= {"GlobalParameters", "Update", "Hello", "Progress"}
    assert hub.result.result().parameters_sha256 == undisturbed
    if act in (changed_labels, renamed, bare):  # what changed its sender's words is told
        reasons = {
            each["reason"] for each in [*hub.all("update_refused"), *hub.all("event_refused")]
        }
        assert any(
            "is not signed with the keys of" in each or "in clear" in each for each in reasons
        )
    assert all(each["updates"] == 2 for each in hub.all("round_closed"))
    joined = {line.record["participant"] for line in checked_lines(ward.folder / "hub/audit.jsonl")}
    assert joined == {"p0", "p1"}


class Replaying:
    """Sends everything of the rounds before once more whenever a version goes out, and reorders."""

    def __init__(self, relay: Relay) -> None:
        self._relay = relay
        self._held: list[Relayed] = []

    def __call__(self, message: Relayed) -> Sequence[Relayed]:
        if message.kind == "Progress" and not self._held:
            self._held.append(message)  # comes after later ones of its sender
            return []
        if message.kind != "GlobalParameters":
            return [message]
        held, self._held = self._held, []
        return [message, *self._relay.seen[:-1], *held]


@pytest.mark.slow
def test_old_messages_are_not_obeyed_again(ward: Ward, undisturbed: str) -> None:
    """Everything that moved before is sent again with each version: updates, versions, goodbyes."""
    ward.relay.rule = Replaying(ward.relay)
    hub = ward.run(TINY, rounds=ROUNDS)
    assert hub.result.result().parameters_sha256 == undisturbed
    assert hub.all("participant_left") == []
    reasons = {each["reason"] for each in hub.all("event_refused")}
    assert any("was sent before" in reason for reason in reasons)
    assert all(each["updates"] == 2 for each in hub.all("round_closed"))

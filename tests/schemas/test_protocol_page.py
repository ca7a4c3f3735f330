"""The page about the wire is true: its example, its names and its refusals come from the code."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from fanfold.coordinator.admission import rate_limits
from fanfold.coordinator.admission.event_decoder import EVENT_LIMITS
from fanfold.coordinator.aggregation.refusals import Reason
from fanfold.coordinator.broker.channel import CoordinatorChannel
from fanfold.coordinator.rounds import presence
from fanfold.coordinator.settings import CoordinatorSettings
from fanfold.schemas.chunk_header import MAX_CHUNK_BYTES, MIN_CHUNK_BYTES
from fanfold.schemas.chunking import DEFAULT_CHUNK_BYTES, cut
from fanfold.schemas.message_kinds import MESSAGES
from fanfold.schemas.messages import TrainingPlan, Update
from fanfold.schemas.names import (
    DEAD_LETTER_KEY,
    EVENT_KEY,
    REQUEST_KEY,
    UPDATE_KEY,
    FederationNames,
)
from fanfold.schemas.tensor_codec import encode_tensors, parameters_sha256
from fanfold.schemas.tensor_table import DTYPE_BYTES
from fanfold.transport import Delivery, Outgoing

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "protocol.md").read_text(encoding="utf-8")
WORDS = " ".join(PAGE.split())

READERS = ("schemas", "coordinator", "participant", "sealing")

EXAMPLE = Update(
    run="r1",
    participant="alice",
    base_version=3,
    base_digest="00" * 32,
    num_examples=120,
    metrics={"loss": 0.5},
)
TENSORS = {"w": torch.tensor([[1.0, -0.5]]), "n": torch.tensor(7)}


def hexdump(data: bytes) -> str:
    """Return `data` in lines of 16 bytes: offset, hex, and ASCII where it is that."""
    lines = []
    for offset in range(0, len(data), 16):
        row = data[offset : offset + 16]
        text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in row)
        lines.append(f"{offset:04x}  {row.hex(' '):47}  {text}")
    return "\n".join(lines)


def refusals() -> Iterator[str]:
    """Yield the sentence of every MalformedMessageError in the source, an ellipsis for data."""
    for path in sorted(path for room in READERS for path in (ROOT / room).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match node:
                case ast.Raise(
                    exc=ast.Call(func=ast.Name(id="MalformedMessageError"), args=[text])
                ):
                    yield sentence(text)


def sentence(text: ast.expr) -> str:
    match text:
        case ast.Constant(value=str(words)):
            return words
        case ast.JoinedStr(values=parts):
            return "".join(sentence(part) for part in parts)
        case _:
            return "…"


def test_the_example_is_what_the_code_writes() -> None:
    (chunk,) = cut(encode_tensors(EXAMPLE, TENSORS, kinds={"w": "delta"}))
    assert hexdump(bytes(chunk.body)) in PAGE
    for name, value in chunk.headers.items():
        assert f"| `{name}` | `{value}` |" in PAGE
    assert f"`{chunk.message_id}`" in PAGE
    assert f"`{parameters_sha256(TENSORS)}`" in PAGE


@pytest.mark.parametrize("kind", MESSAGES)
def test_every_message_and_each_of_its_fields_is_on_the_page(kind: str) -> None:
    section = re.search(rf"^### {kind}$(.*?)^##", PAGE, re.MULTILINE | re.DOTALL)
    assert section
    missing = [name for name in MESSAGES[kind].model_fields if f"| `{name}` |" not in section[1]]
    assert not missing


def test_every_field_of_the_plan_is_on_the_page() -> None:
    assert [name for name in TrainingPlan.model_fields if f"| `{name}` |" not in PAGE] == []


def test_every_dtype_is_on_the_page() -> None:
    assert [
        name for name, size in DTYPE_BYTES.items() if f"| `{name}` | {size} |" not in PAGE
    ] == []


def test_the_bounds_of_a_chunk_are_on_the_page() -> None:
    for number in (MIN_CHUNK_BYTES, DEFAULT_CHUNK_BYTES, MAX_CHUNK_BYTES):
        assert f"{number:,}" in PAGE


def test_every_name_on_the_broker_is_on_the_page() -> None:
    """Exchanges, queues and routing keys, those that only the coordinator uses among them."""
    names = FederationNames("F")
    properties = [
        name for name, kind in vars(FederationNames).items() if isinstance(kind, property)
    ]
    shown = [getattr(names, name) for name in properties]
    shown += [names.participant_queue("ID"), f"{names.slot_queue(0)[:-1]}i"]
    shown += [names.operator_queue("LOGIN", "X"), REQUEST_KEY]
    shown += [f"{names.status_queue('X')}.events", UPDATE_KEY, EVENT_KEY, DEAD_LETTER_KEY]
    assert len(properties) >= 7
    assert [name for name in shown if f"`{name}`" not in PAGE] == []


def test_what_the_coordinator_demands_is_on_the_page() -> None:
    """The numbers that others run into, and the words for who speaks in another's name."""
    demands = WORDS.partition("## What the coordinator demands")[2].partition("## One AMQP")[0]
    for words in (
        f"at most {EVENT_LIMITS.max_bytes:,} bytes",
        f"{rate_limits.MAX_ATTEMPTS} different updates",
        f"each chunk of one {rate_limits.MAX_COPIES} times",
        f"{rate_limits.MAX_MALFORMED} dead letters",
        f"`{Reason.WRONG_SENDER}`",
        f"`{Reason.FLOOD}`",
        "`user_id` stands on every message",
    ):
        assert words in demands


def test_what_silence_is_stands_on_the_page_in_numbers() -> None:
    section = WORDS.partition("## What silence is")[2].partition("## ")[0]
    assert f"for {presence.SILENT_SIGNS} times its `alive_seconds`" in section
    assert f"; {presence.ALIVE_SECONDS:g} where they do not" in section
    most = CoordinatorSettings.model_fields["max_participants"].default
    assert f"at most {most:,} participants in two weeks" in WORDS


def test_the_headers_of_a_dead_letter_are_on_the_page() -> None:
    class Broker:
        def __getattr__(self, _name: str) -> Any:
            return lambda *_: None

        def publish(self, messages: list[Outgoing]) -> None:
            self.sent = messages

    broker: Any = Broker()
    channel = CoordinatorChannel(
        FederationNames("F"), consuming=broker, publishing=broker, administering=broker
    )
    keep = channel.dead_letter(
        Delivery(
            subscription=broker,
            tag=1,
            redelivered=False,
            kind="Greeting",
            message_id="1",
            user_id="mallory",
            headers={},
            body=b"hello?",
        ),
        "a reason",
    )
    keep()
    (letter,) = broker.sent
    assert letter.headers == {"reason": "a reason", "sender": "mallory", "body_bytes": 6}
    assert [name for name in letter.headers if f"`{name}`" not in PAGE] == []


@pytest.mark.parametrize("words", sorted(set(refusals())))
def test_every_refusal_is_on_the_page(words: str) -> None:
    assert words in WORDS

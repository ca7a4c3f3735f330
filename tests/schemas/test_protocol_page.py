"""The page about the wire is true: its example, its names and its refusals come from the code."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from schemas.chunks import DEFAULT_CHUNK_BYTES, cut
from schemas.messages import MESSAGES, TrainingPlan, Update
from schemas.place import MAX_CHUNK_BYTES, MIN_CHUNK_BYTES
from schemas.table import DTYPE_BYTES
from schemas.tensors import encode_tensors, parameters_sha256

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "protocol.md").read_text(encoding="utf-8")
WORDS = " ".join(PAGE.split())

EXAMPLE = Update(
    run="r1",
    participant="alice",
    base_version=3,
    base_digest="00" * 32,
    num_examples=120,
    metrics={"loss": 0.5},
    train_seconds=2.0,
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
    for path in sorted((ROOT / "schemas").glob("*.py")):
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


@pytest.mark.parametrize("words", sorted(set(refusals())))
def test_every_refusal_is_on_the_page(words: str) -> None:
    assert words in WORDS

"""What fuzzing aims at: bytes in, a message or a refusal by name out, and nothing else."""

import torch

from fanfold.schemas.chunking import Assembly, ChunkHeader, cut
from fanfold.schemas.errors import MalformedMessageError
from fanfold.schemas.keeper_messages import (
    Approval,
    Masks,
    MasksRefused,
    MasksWanted,
    Member,
    SetApproved,
)
from fanfold.schemas.message_codec import Encoded, ReaderLimits, TensorBytes, decode, encode
from fanfold.schemas.message_kinds import MESSAGES
from fanfold.schemas.messages import GlobalParameters, Hello, MaskSeeds, TrainingPlan, Update
from fanfold.schemas.tensor_codec import decode_tensors, encode_tensors
from fanfold.sealing.envelope import MESSAGE, Agreement, Envelope, agreed_key, enclose, unwrapped
from fanfold.sealing.identity import Identity

LIMITS = ReaderLimits(max_bytes=1_000_000, max_header_bytes=100_000, max_tensors=100)

GLOBAL_PARAMETERS = GlobalParameters(run="run-1", version=3, rounds=5, plan=TrainingPlan())
UPDATE = Update(
    run="run-1",
    participant="alice",
    base_version=3,
    base_digest="0" * 64,
    num_examples=5,
    metrics={"loss": 0.5},
)


ALICE, HUB = (Identity.of_seeds(bytes([byte]) * 32, bytes([byte + 1]) * 32) for byte in (1, 3))
SEEDS = MaskSeeds(key="0" * 64, boxes=["ab" * 80] * 3, signature="0" * 128)
WANTED = MasksWanted(
    run="run-1",
    version=3,
    words=600,
    members=[Member(participant="alice", base_version=3, seeds=SEEDS)],
    seeds=(0, 1),
    approvals=(Approval(keeper=1, signature="0" * 128),),
)
_SAID = {"run": "run-1", "version": 3, "keeper": 1, "set_digest": "0" * 64, "signature": "0" * 128}


def open_anything(data: bytes) -> bool:
    """Read `data` as a sealed message, for one and for everybody; return whether it was one.

    Any exception but MalformedMessageError is a finding.
    """
    try:
        envelope = Envelope.parse(memoryview(data))
        key = agreed_key(ALICE, envelope.ephemeral, HUB.public, MESSAGE)
        entry = envelope.entry_of(ALICE.public)
        if entry is not None:
            unwrapped(entry, key)
        plain = envelope.plaintext(key, max_bytes=LIMITS.max_bytes)
    except MalformedMessageError:
        return False
    assert plain.nbytes <= LIMITS.max_bytes
    return True


def sealed_corpus() -> list[bytes]:
    """Return a sealed message that opens, and one with a table of keys."""
    agreement = Agreement(bytes(range(32)))
    key = agreement.key_for(ALICE.public, HUB.public, MESSAGE)
    table = bytes(56 * 64)
    return [
        bytes(enclose([bytes(300)], key, ephemeral=agreement.public, entries=entries))
        for entries in (b"", table)
    ]


def decode_anything(data: bytes) -> bool:
    """Read `data` as a message of every kind; return whether it was one.

    Any exception but MalformedMessageError is a finding.
    """
    understood = False
    for kind in MESSAGES:
        try:
            decode_tensors(decode(memoryview(data), kind=kind, limits=LIMITS))
        except MalformedMessageError:
            continue
        understood = True
    return understood


def corpus() -> list[bytes]:
    """Return messages that are understood, one for each way to encode, as seeds for mutation."""
    tensors = {
        "weight": torch.linspace(-1, 1, 600).reshape(20, 30),
        "count": torch.tensor(7),
        "flags": torch.tensor([True, False]),
        "empty": torch.empty(0, 3),
    }
    kinds = {"weight": "delta"}
    encodings = ["float32", "float16", "bfloat16", "int8", "topk:0.05", "topk:0.5+int8"]
    return [
        joined(encode_tensors(Hello(participant="alice", instance="i1"), {})),
        joined(encode_tensors(GLOBAL_PARAMETERS, tensors, encoding="int8")),
        joined(encode_tensors(UPDATE.model_copy(update={"seeds": SEEDS}), {})),
        joined(encode(WANTED)),
        joined(encode(MasksRefused(**_SAID, reason="no"))),
        joined(encode(SetApproved(**_SAID))),
        joined(
            encode_tensors(
                Masks(**_SAID, seeds=[0], blake3="0" * 64),
                {"masks": torch.arange(600, dtype=torch.int32)},
            )
        ),
        *(
            joined(encode_tensors(UPDATE, tensors, kinds=kinds, encoding=encoding))
            for encoding in encodings
        ),
    ]


def bomb() -> bytes:
    """Return an update of 4 kB that asks for 2 GB once it is decoded."""
    kept = torch.cat((torch.arange(500, dtype=torch.int32), torch.zeros(500, dtype=torch.int32)))
    data = memoryview(kept.numpy().tobytes())
    row = TensorBytes("weight", "float32", (500_000_000,), "delta", "topk:0.000001", data)
    return joined(encode(UPDATE, [row]))


def joined(encoded: Encoded) -> bytes:
    """Return the whole message as one string of bytes."""
    return b"".join(encoded.buffers)


def sent_and_received(encoded: Encoded, *, chunk_bytes: int = 1024) -> dict[str, torch.Tensor]:
    """Return the tensors after cutting and assembling, last chunk first."""
    limits = ReaderLimits(max_bytes=2**30)
    assembly: Assembly | None = None
    for chunk in reversed(cut(encoded, chunk_bytes=chunk_bytes)):
        header = ChunkHeader.parse(chunk.kind, chunk.headers, len(chunk.body), limits)
        assembly = assembly or Assembly(header, limits)
        assembly.add(header, chunk.body)
    assert assembly is not None
    return decode_tensors(assembly.decode())

"""Millions of mutated bodies and headers into the decoder: `make fuzz`.

With atheris (Linux), mutation is guided by the coverage of `schemas`; elsewhere a plain mutator
does the same without a guide. A finding is a crash, an exception outside the error tree, or memory
beyond the limits; the input that caused it is left in `runs/fuzz`.

    python tests/fuzz/fuzz_decoder.py --cases 1000000

A change of the protocol makes the kept corpus worthless, because all of it is refused at once.
Then delete it, run as many cases as before, and keep what they found:

    python tests/fuzz/fuzz_decoder.py --keep
"""

import argparse
import mmap
import random
import resource
import sys
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent.parent
CORPUS = Path(__file__).parent / "corpus"
FINDINGS = ROOT / "runs" / "fuzz"
GROWN = FINDINGS / "corpus"
"""Inputs that reached something new; `--keep` chooses among them for `CORPUS`."""
MAX_INPUT_BYTES = 8192
SEALED = b"\x7f"
"""The first byte of an input that is read as a sealed message."""
ROOM_BYTES = 64 << 20
"""Address space that a session without a guide has, beyond what its seeds took. The reader's limit
is 1 MB: what a message only announces must not be taken, nor may anything pile up.
"""
SEED = 20_261_123

sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "schemas")]
try:
    import atheris
except ImportError:
    atheris = None

with atheris.instrument_imports(include=["fanfold"]) if atheris else nullcontext():
    import fuzz_target

    from fanfold.schemas import messages
    from fanfold.schemas.chunking import Assembly, ChunkHeader, cut
    from fanfold.schemas.errors import MalformedMessageError
    from fanfold.schemas.message_kinds import MESSAGES
    from fanfold.schemas.tensor_codec import decode_tensors, encode_tensors, num_bytes

KINDS = [*MESSAGES, "Nonsense", "", None]
VALID = cut(encode_tensors(fuzz_target.UPDATE, {}))[0]
NAMES = [*VALID.headers, "epoch", "x-unknown"]


class Reader:
    """Reads decisions out of a fuzzer's bytes; zeros when they are used up."""

    def __init__(self, data: bytes) -> None:
        self.rest = data

    def number(self, below: int) -> int:
        """Return one byte's choice among `below`."""
        first, self.rest = self.rest[:1] or b"\0", self.rest[1:]
        return first[0] % below

    def take(self, count: int) -> bytes:
        """Return the next bytes."""
        taken, self.rest = self.rest[:count], self.rest[count:]
        return taken

    def value(self) -> Any:
        """Return a header's value, of any type that AMQP can carry."""
        raw = self.take(self.number(40))
        values = (
            int.from_bytes(raw[:9], "little", signed=True),
            raw.decode("latin-1"),
            raw.hex(),
            raw,
            bool(raw),
            [raw, len(raw)],
            {"nested": raw},
            None,
        )
        return values[self.number(len(values))]


def plan(reader: Reader) -> dict[str, int]:
    """Return headers that announce any number of bytes, in chunks that fit them."""
    num_bytes = 1 + int.from_bytes(reader.take(reader.number(6)), "little")
    chunk_bytes = len(VALID.body) if reader.number(2) else 1024
    return {
        "bytes": num_bytes,
        "chunk_bytes": chunk_bytes,
        "chunks": -(-num_bytes // chunk_bytes),
        "chunk": 0,
    }


def try_headers(data: bytes) -> None:
    """Read a chunk whose headers were changed, then its body."""
    reader = Reader(data)
    kind = KINDS[reader.number(len(KINDS))] if reader.number(4) == 0 else VALID.kind
    headers: dict[str, object] = dict(VALID.headers)
    for _ in range(reader.number(5)):
        headers[NAMES[reader.number(len(NAMES))]] = reader.value()
    if reader.number(2):
        headers |= plan(reader)
    body = bytes(VALID.body) if reader.number(2) else reader.rest
    try:
        header = ChunkHeader.parse(kind, headers, len(body), fuzz_target.LIMITS)
        assembly = Assembly(header, fuzz_target.LIMITS)
        if assembly.add(header, body):
            tensors = decode_tensors(assembly.decode())
            assert num_bytes(tensors) <= fuzz_target.LIMITS.max_bytes
    except MalformedMessageError:
        return


def try_one(data: bytes) -> None:
    """Use the first byte to choose what the rest attacks."""
    if data[:1] > b"\x7f":
        try_headers(data[1:])
    elif data[:1] == SEALED:
        fuzz_target.open_anything(data[1:])
    else:
        fuzz_target.decode_anything(data[1:])


def seeds() -> list[bytes]:
    """Return the kept corpus, messages of every encoding, and two that ask for too much."""
    kept = [path.read_bytes() for path in sorted(CORPUS.iterdir())]
    bodies = [*fuzz_target.corpus(), fuzz_target.bomb()]
    sealed = [SEALED + body for body in fuzz_target.sealed_corpus()]
    announced = b"\xff" + bytes(2) + b"\1\4" + b"\xff\xff\xff\x0f" + bytes(2) + bytes(1024)
    return [*kept, *(b"\0" + body for body in bodies), *sealed, b"\xff" + bytes(64), announced]


def mutated(chance: random.Random, pool: list[bytes]) -> bytes:
    """Return a seed with bytes changed, cut, doubled or spliced with another seed."""
    data = bytearray(chance.choice(pool))
    for _ in range(1 + chance.randrange(4)):
        at = chance.randrange(len(data) + 1)
        match chance.randrange(5):
            case 0:
                data[at : at + 1] = bytes([chance.randrange(256)])
            case 1:
                del data[at : at + 1 + chance.randrange(16)]
            case 2:
                data[at:at] = data[at : at + chance.randrange(64)]
            case 3:
                data[at : at + 4] = chance.choice((bytes(4), b"\xff" * 4, b"\x7f\xff\xff\xff"))
            case _:
                data[at:] = chance.choice(pool)[at:]
    return bytes(data[:MAX_INPUT_BYTES])


def run_guided(cases: int) -> None:
    """Let libFuzzer call `try_one`; it ends the process by itself."""
    GROWN.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds()):
        (GROWN / f"seed-{number}").write_bytes(seed)
    if type(messages.__loader__).__module__.partition(".")[0] != "atheris":
        raise RuntimeError("the decoder is not instrumented: nothing would guide the fuzzer")
    options = [f"-runs={cases}", f"-max_len={MAX_INPUT_BYTES}", f"-seed={SEED}"]
    limits = ["-timeout=10", "-rss_limit_mb=1024", f"-artifact_prefix={FINDINGS}/"]
    atheris.Setup([sys.argv[0], *options, *limits, "-print_final_stats=1", str(GROWN)], try_one)
    atheris.Fuzz()


def keep_the_best(arguments: list[str]) -> None:
    """Copy into `CORPUS` what reaches something that nothing in it reaches; ends the process.

    libFuzzer runs this program again, with arguments of its own, so that a crash costs one input.
    """
    CORPUS.mkdir(exist_ok=True)
    merge = ["-merge=1", f"-max_len={MAX_INPUT_BYTES}", "-rss_limit_mb=1024"]
    again = f"{sys.executable} {Path(__file__).resolve()} --keep"
    atheris.Setup([again, *(arguments or [*merge, str(CORPUS), str(GROWN)])], try_one)
    atheris.Fuzz()


def run_plain(cases: int) -> None:
    """Mutate without a guide."""
    chance, pool = random.Random(SEED), seeds()
    for number in range(cases):
        data = mutated(chance, pool)
        try:
            try_one(data)
        except BaseException:
            FINDINGS.mkdir(parents=True, exist_ok=True)
            (FINDINGS / f"plain-{number}").write_bytes(data)
            raise


def bound_memory() -> None:
    """Let nothing be taken beyond `ROOM_BYTES`, were it never used: asking for more is an error."""
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + ROOM_BYTES, resource.RLIM_INFINITY))
    try:
        mmap.mmap(-1, 2 * ROOM_BYTES).close()
    except OSError:
        return
    raise RuntimeError("the system does not bound memory, so this run could not find its misuse")


def main() -> None:
    """Run so many cases, guided by coverage where that is possible."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=1_000_000)
    parser.add_argument("--engine", choices=("guided", "plain"))
    parser.add_argument("--keep", action="store_true")
    arguments, others = parser.parse_known_args()
    if arguments.keep:
        keep_the_best(others)
    elif others:
        parser.error(f"unknown: {' '.join(others)}")
    engine = arguments.engine or ("guided" if atheris else "plain")
    if engine == "guided":
        run_guided(arguments.cases)
    for data in seeds():
        try_one(data)
    if sys.platform == "linux":
        bound_memory()
    before, began = peak_kib(), time.monotonic()
    for data in seeds():
        try_one(data)
    run_plain(arguments.cases)
    sys.stdout.write(
        f"fuzz: {arguments.cases} cases in {time.monotonic() - began:.0f} s without a guide, "
        f"{(peak_kib() - before) // 1024} MiB more memory, no finding\n"
    )


def peak_kib() -> int:
    """Return the most memory that was in use so far, in KiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


if __name__ == "__main__":
    main()

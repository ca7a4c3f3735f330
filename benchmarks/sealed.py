"""What it costs to seal and sign all messages: sealed rounds beside plain ones, in turns."""

import statistics
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import typer

from benchmarks.federation import Federation, broker, federation
from benchmarks.results import Row, machine, quartiles, report
from fanfold.sealing.identity import Identity
from fanfold.sealing.roster import changing

PARTICIPANTS = 4
CASES = (
    ("65,850 values, 4 participants", "benchmarks.identity:Small", 60, "plain x1.3"),
    ("100 MB, 4 participants", "benchmarks.identity:Large", 4, "plain x1.15"),
)


@contextmanager
def keys() -> Iterator[Path]:
    """Yield a folder with the keys of a coordinator (`hub`, with the roster) and participants."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        names = [f"participant-{index}" for index in range(PARTICIPANTS)]
        for name in ("hub", *names):
            Identity.generate().write(place / name)
        with changing(place / "hub") as held:
            for name in names:
                held[0] = held[0].enroll(name, Identity.read(place / name).public)
        yield place


def compare(
    plain: Federation,
    guarded: Federation,
    flags: tuple[str, ...],
    *,
    case: str,
    limit: str,
    rounds: int,
    turns: int,
) -> Row:
    """Measure both in turns; the first round of each turn is left out.

    Args:
        plain: without any protection.
        guarded: the same with some.
        flags: of the coordinator of the guarded one.
        case: what the row is called.
        limit: what is promised.
        rounds: of each turn.
        turns: of each federation.
    """
    ours: list[float] = []
    theirs: list[float] = []
    for _ in range(turns):
        theirs += plain.run(rounds + 1).seconds
        ours += guarded.run(rounds + 1, *flags).seconds
    return Row(
        case,
        ours=statistics.median(ours),
        floor=statistics.median(theirs),
        unit="s/round",
        limit=limit,
        details={"ours": quartiles(ours), "floor": quartiles(theirs)},
    )


def main(turns: int = 3) -> None:
    """Compare sealed rounds with plain ones of the same model, over the same broker."""
    rows = []
    for case, task, rounds, limit in CASES:
        with (
            keys() as folder,
            broker() as url,
            federation(url, task, PARTICIPANTS, kind="real", name="plain") as plain,
            federation(
                url,
                task,
                PARTICIPANTS,
                kind="real",
                name="sealed",
                flags=(
                    f"--identity={folder}/{{id}}",
                    f"--coordinator-identity={folder}/hub",
                ),
            ) as sealed,
        ):
            flags = (f"--identity={folder}/hub",)
            rows.append(
                compare(plain, sealed, flags, case=case, limit=limit, rounds=rounds, turns=turns)
            )
    report("bench-sealed", rows, title=f"Sealed rounds beside plain ones ({machine()})")


if __name__ == "__main__":
    typer.run(main)

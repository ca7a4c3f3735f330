"""What masks cost: masked rounds with 100 MB and 4 participants beside plain ones, in turns."""

import typer

from benchmarks.federation import broker, federation
from benchmarks.results import machine, report
from benchmarks.sealed import PARTICIPANTS, compare, keys
from fanfold.sealing.identity import PUBLIC_FILE

TASK = "benchmarks.identity:Large"
CASE = "100 MB, 4 participants, masked by one keeper, against plain"


def main(turns: int = 3, rounds: int = 4) -> None:
    """Compare masked rounds with plain ones of the same model, over the same broker.

    The owner of the roster, `hub`, is the keeper.
    """
    with keys() as folder, broker() as url:
        hub = folder / "hub"
        masks = f"--masks={hub / PUBLIC_FILE}"
        own = f"--mask-identity={folder}/{{id}}"
        with (
            federation(url, TASK, PARTICIPANTS, kind="real", name="plain") as plain,
            federation(
                url,
                TASK,
                PARTICIPANTS,
                kind="real",
                name="masked",
                flags=(masks, own),
                keeper=hub,
            ) as masked,
        ):
            row = compare(
                plain,
                masked,
                (masks, "--encoding=fixed"),
                case=CASE,
                limit="plain x1.5",
                rounds=rounds,
                turns=turns,
            )
    report("bench-masked", [row], title=f"Masked rounds beside plain ones ({machine()})")


if __name__ == "__main__":
    typer.run(main)

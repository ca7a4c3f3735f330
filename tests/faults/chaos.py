"""Kills, stops, disconnects, deletes and damages parts of a federation, and checks the result.

    python tests/faults/chaos.py --kills 51 --disturbances 50 --seed 0 --report docs/chaos.md

It uses a broker and processes as in operation. The steps are drawn from the seed: kills of
coordinator, participants and broker, and the disturbances of the folder beside this file. Half of
the kills of services are aimed: the victim kills itself in a phase that is drawn as well, because
the shortest phases would hardly ever be hit from outside. A coordinator's mode changes with its
starts. Afterwards

- every round was closed once, and in time: what hangs is an error;
- no update counts twice, and none that was acknowledged is missing, as the names in the history
  prove;
- no process ended unasked, and no log holds a traceback;
- the last model has the hash of an undisturbed replay in memory;
- with top-k and private tensors, what was sent and the residual are together what was trained.

Scheduling by the operating system is not seeded: two runs of one seed carry out the same steps in
the same order, but the processes are in different phases.
"""

import argparse
import os
import sys
import tempfile
from contextlib import closing
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # a script finds only what lies beside it

import chaos_witness
import padded_task
from chaos_disks import Disk
from chaos_driver import ChaosOutcome, carry_out
from chaos_federation import Federation
from chaos_legs import Leg, legs
from chaos_plan import Step, plans
from chaos_proof import prove_sent, prove_trained, tracebacks
from chaos_report import report
from disturbances import KINDS
from nodes import BrokerNode
from services import ForkServer, Services

from fanfold.access.broker_environment import BROKER_VARIABLE
from fanfold.schemas.errors import FanfoldError

TRAINING_SECONDS = 0.3


def run(
    leg: Leg, steps: list[Step], folder: Path, *, disks: tuple[Disk, Disk], seed: int
) -> ChaosOutcome:
    """Carry out a plan on one federation, and return what happened."""
    with BrokerNode.start(management=True) as broker, ForkServer() as fork_server:
        environment = {
            BROKER_VARIABLE: broker.url,
            padded_task.VARIABLE: str(TRAINING_SECONDS),
            chaos_witness.VARIABLE: str(folder / "witness") if leg.everybody_keeps else "",
        }
        with Services(fork_server, folder, environment) as services:
            federation = Federation(
                leg, services=services, broker=broker, folder=folder, disks=disks, seed=seed
            )
            with closing(federation):
                return carry_out(steps, federation)


def main() -> None:
    """Run it from the command line."""
    arguments = _arguments()
    kinds = [kind for kind in KINDS if not arguments.only or arguments.only in kind.name]
    if arguments.short:
        kinds = [kind for kind in kinds if not kind.is_slow]
    with tempfile.TemporaryDirectory(prefix="chaos-") as temporary:
        folder = arguments.folder or Path(temporary)
        outcome, proved = ChaosOutcome(), []
        planned = plans(
            kills=arguments.kills,
            disturbances=arguments.disturbances,
            kinds=kinds,
            seed=arguments.seed,
        )
        for leg, steps in zip(legs(arguments.seed, folder), planned, strict=True):
            if arguments.leg not in (None, leg.federation):
                continue
            place = folder / leg.federation
            leg.make_keys()
            with (
                closing(Disk(place / "coordinator-disk")) as out,
                closing(Disk(place / "participant-disk")) as states,
            ):
                happened = run(leg, steps, place, disks=(out, states), seed=arguments.seed)
                outcome.add(happened)
                outcome.faults += tracebacks(place)
                prove = prove_sent if leg.everybody_keeps else prove_trained
                try:
                    proved.append(prove(leg, out.folder / "run", place, happened.acknowledged))
                except (AssertionError, FanfoldError) as error:
                    outcome.faults.append(f"the proof of {leg.federation}: {error}")
        text = report(
            outcome,
            proved,
            kinds=KINDS,
            command=f"python tests/faults/chaos.py --kills {arguments.kills} "
            f"--disturbances {arguments.disturbances} --seed {arguments.seed}"
            f"{' --short' if arguments.short else ''}",
        )
    sys.stdout.write(text)
    if outcome.faults:
        sys.stdout.write("\n".join(["", "Faults:", *outcome.faults, ""]))
        sys.exit(1)
    if arguments.report is not None:
        arguments.report.write_text(text)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Disturb everything, and see what is lost.")
    parser.add_argument("--kills", type=int, default=51)
    parser.add_argument("--disturbances", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--short", action="store_true", help="without what takes half a minute")
    parser.add_argument("--only", default="", help="only kinds with this in their name")
    parser.add_argument("--leg", help="only this federation: chaos, top-k or sealed")
    parser.add_argument("--report", type=Path, help="write what happened to this Markdown file")
    parser.add_argument("--folder", type=Path, help="keep logs and the runs here")
    return parser.parse_args()


if __name__ == "__main__":
    os.environ[padded_task.VARIABLE] = "0"  # replays are in no need of a pause
    main()

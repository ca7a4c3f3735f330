"""What noise costs the digits at the same epsilon: added by participants so that the sum has it.

Rounds run in one process, through the functions that the services call: trainer, clipping, fixed
point, noise, sum. Masks are left out: they change no bit of a sum. The peer is noise at the
coordinator, whom everybody then has to trust; beside it stands noise that hides every single
update, as `--dp-at participant` adds it.
"""

import statistics
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from benchmarks.encodings import held_out_accuracy
from benchmarks.results import Row, machine, quartiles, report
from fanfold.coordinator.aggregation.differential_privacy import DifferentialPrivacy
from fanfold.coordinator.aggregation.initial_model import initial_model
from fanfold.coordinator.aggregation.make_aggregation import make_aggregation
from fanfold.coordinator.aggregation.optimizer_spec import parse_optimizer
from fanfold.coordinator.aggregation.privacy_settings import epsilon
from fanfold.coordinator.aggregation.refusals import UpdateLimits
from fanfold.coordinator.aggregation.run_state import RunState
from fanfold.coordinator.aggregation.staleness import parse_staleness
from fanfold.coordinator.settings import CoordinatorSettings
from fanfold.learning import build_network, load_task, replace_tensors, shared_tensors
from fanfold.participant.fixed_update import fixed_update
from fanfold.participant.trainer import Trainer
from fanfold.participant.update_privacy import private_update
from fanfold.schemas.messages import Update

PARTICIPANTS = 8
DIGEST = "0" * 64
PLACES = ("sum", "coordinator", "participant")


def settings_of(at: str, *, rounds: int, clip: float, noise: float, seed: int) -> Any:
    """Return the settings of a coordinator whose run has its noise `at` one of `PLACES`."""
    masked = {"encoding": "fixed", "masks": (Path("keeper.pub"),)} if at == "sum" else {}
    return CoordinatorSettings.model_validate(
        {
            "task": "digits",
            "rounds": rounds,
            "min_participants": PARTICIPANTS,
            "dp_at": at,
            "dp_clip": clip,
            "dp_noise": noise,
            "seed": seed,
            "threads": 1,
            **masked,
        }
    )


def accuracy_of(settings: CoordinatorSettings) -> float:
    """Run a federation of the digits to its end, and return the accuracy of its last version."""
    tasks = [
        load_task("digits")(partition_index=index, num_partitions=PARTICIPANTS, seed=settings.seed)
        for index in range(PARTICIPANTS)
    ]
    trainers = [Trainer(task, f"p{index}", seed=settings.seed) for index, task in enumerate(tasks)]
    model = initial_model(tasks[0], settings.seed, None)
    run = RunState(
        run_id="bench",
        tensors=model.tensors,
        kinds=model.kinds,
        staleness=parse_staleness(settings.staleness_weight),
        optimizer=parse_optimizer(settings.server_optimizer),
        limits=UpdateLimits(),
        privacy=DifferentialPrivacy.of(settings.privacy),
        aggregation=make_aggregation(settings.aggregation),
    )
    for _ in range(settings.rounds):
        run.announced(DIGEST)
        for index, trainer in enumerate(trainers):
            _answer(run, settings, trainer, f"p{index}")
        run.close_round()
    network = build_network(tasks[0])
    replace_tensors(shared_tensors(network), run.tensors)
    return held_out_accuracy(tasks[0], network)


def _answer(
    run: RunState, settings: CoordinatorSettings, trainer: Trainer, participant: str
) -> None:
    plan = settings.plan(run.version, settings.rounds)
    trained = trainer.train(run.tensors, version=run.version, plan=plan)
    if run.privacy is not None:
        trained = private_update(
            trained,
            run.privacy.plan(),
            base=run.tensors,
            encoding="float32",
            is_kept=True,
        )
    if settings.fixed is not None:
        trained = fixed_update(trained, settings.fixed, base=run.tensors)
    update = Update(
        run=run.run_id,
        participant=participant,
        base_version=run.version,
        base_digest=DIGEST,
        num_examples=trained.num_examples,
    )
    if (refusal := run.inspect(trained.tensors, trained.kinds)) is not None:
        raise RuntimeError(f"an update was refused: {refusal}")
    run.fold(update, trained.tensors, f"{participant}-{run.version}")


def main(
    *,
    rounds: int = 20,
    seeds: int = 5,
    clip: Annotated[float, typer.Option(help="Largest length of an update.")] = 0.3,
    noise: Annotated[float, typer.Option(help="As a multiple of the clip.")] = 0.3,
) -> None:
    """Compare the accuracy of private runs by who adds the noise, all at one epsilon."""
    torch.set_num_threads(1)
    found = {
        at: [
            100 * accuracy_of(settings_of(at, rounds=rounds, clip=clip, noise=noise, seed=seed))
            for seed in range(seeds)
        ]
        for at in PLACES
    }
    means = {at: statistics.mean(values) for at, values in found.items()}
    spent = epsilon(noise, rounds, 1e-5)
    case = f"accuracy after {rounds} rounds, z = {noise:g}"
    details = {
        **{at: quartiles(values) for at, values in found.items()},
        "by seed": found,
        "epsilon_zero_out": spent,
        "clip": clip,
    }
    rows = [
        Row(
            f"{case}: noise of the sum",
            ours=means["sum"],
            peer=means["coordinator"],
            unit="%",
            limit="within 1 point of noise at the coordinator",
            details=details,
        ),
        Row(
            f"{case}: noise at participants",
            ours=means["participant"],
            peer=means["coordinator"],
            unit="%",
        ),
    ]
    report(
        "bench-private",
        rows,
        title=f"Noise on the digits, {PARTICIPANTS} participants, {seeds} seeds ({machine()})",
    )


if __name__ == "__main__":
    typer.run(main)

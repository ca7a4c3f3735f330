"""What cannot be trained again is folded again: a run with top-k from the updates that were sent.

With top-k each participant keeps a residual, and private tensors are state as well: such a run
cannot be replayed from its history alone. The witness has recorded what was sent, and the state
before and after each training.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import chain, permutations
from pathlib import Path
from typing import Any

import torch
from chaos_witness import digest_of
from safetensors.torch import load_file
from torch import Tensor

from fanfold.coordinator.aggregation.initial_model import (
    global_tensors,
    initial_network,
    tensor_kinds,
)
from fanfold.coordinator.aggregation.optimizer_spec import parse_optimizer
from fanfold.coordinator.aggregation.run_state import RunState, UpdateLimits
from fanfold.coordinator.aggregation.staleness import parse_staleness
from fanfold.coordinator.persistence.history import read_history
from fanfold.coordinator.settings import RoundSettings
from fanfold.learning import load_task
from fanfold.participant.training_state import KEPT_UPDATES, TrainingState
from fanfold.schemas.message_codec import Decoded, decode
from fanfold.schemas.messages import Update
from fanfold.schemas.reader_limits import ReaderLimits
from fanfold.schemas.tensor_codec import decode_tensors, parameters_sha256

LIMITS = ReaderLimits(max_bytes=1 << 30)
MOST_AT_ONCE = 4
"""Fewer updates than this go back into the residual between two trainings."""
ANY_DIGEST = "0" * 64


@dataclass(frozen=True, slots=True)
class Training:
    """One training whose outcome was about to be kept."""

    digest: str
    private_before: str
    private_after: str
    path: Path
    """Without its suffix."""

    def sent(self) -> dict[str, Tensor]:
        """Return what the coordinator reads in the update."""
        return decode_tensors(decoded(self.path.with_suffix(".update")))

    def part(self, name: str) -> dict[str, Tensor]:
        """Return `owed` before, `trained`, or what was `left` for the next one, by tensor."""
        tensors = load_file(self.path.with_suffix(".tensors"))
        return {
            path.partition("/")[2]: tensor
            for path, tensor in tensors.items()
            if path.partition("/")[0] == name
        }


def decoded(path: Path) -> Decoded:
    """Return an update as the coordinator reads it."""
    return decode(memoryview(bytearray(path.read_bytes())), kind=Update.KIND, limits=LIMITS)


def trainings(folder: Path) -> list[Training]:
    """Return all trainings of one participant, oldest first."""
    found = []
    for path in sorted(folder.glob("*.json"), key=lambda path: int(path.stem)):
        note = json.loads(path.read_text())
        found.append(
            Training(
                note["digest"], note["private_before"], note["private_after"], path.with_suffix("")
            )
        )
    return found


def kept(all_trainings: Iterable[Training], state: TrainingState) -> list[Training]:
    """Return those whose outcome was kept, oldest first: they lead to the state, one by one."""
    by_outcome = {training.private_after: training for training in all_trainings}
    backwards: list[Training] = []
    private = digest_of(state.private)
    while private in by_outcome:
        backwards.append(by_outcome.pop(private))
        private = backwards[-1].private_before
    return backwards[::-1]


def follow(life: list[Training], state: TrainingState, counted: set[str]) -> tuple[int, int]:
    """Prove that what one participant has sent and its residual are together what it trained.

    Return how many trainings were followed, and how many updates went back into the residual.
    """
    owed: Mapping[str, Tensor] = {}
    open_updates: list[Training] = []
    given_back = 0
    for training in life:
        found, trained, left = (training.part(name) for name in ("owed", "trained", "left"))
        returned = _returned(found, owed, open_updates)
        given_back += len(returned)
        sent = training.sent()
        for name, tensor in trained.items():
            total = tensor + found[name] if name in found else tensor
            assert torch.equal(sent[name] + left[name], total), f"{training.path}: sent + owed"
        open_updates = [each for each in open_updates if each not in returned]
        if training.digest not in counted:
            open_updates.append(training)
        owed = left
    given_back += len(_returned(state._residual, owed, open_updates))
    assert counted <= {training.digest for training in life}, "what counts was never kept"
    return len(life), given_back


def _returned(
    found: Mapping[str, Tensor], left: Mapping[str, Tensor], candidates: list[Training]
) -> tuple[Training, ...]:
    """Return the updates that were refused as too late and went back into the residual.

    None of them may be one that counts: it would count twice.
    """
    recent = candidates[-KEPT_UPDATES:]
    for returned in chain.from_iterable(permutations(recent, size) for size in range(MOST_AT_ONCE)):
        expected = dict(left)
        for training in returned:
            for name, tensor in training.sent().items():
                expected[name] = expected[name] + tensor if name in expected else tensor
        if _same(found, expected):
            return returned
    raise AssertionError("what is owed comes from nowhere")


def refold(out: Path, updates: Mapping[str, Path]) -> str:
    """Fold the updates that a history names, in its order; return the hash of the parameters."""
    run: RunState | None = None
    for record in read_history(out / "history.jsonl"):
        if record["event"] == "started":
            rules = RoundSettings.model_validate(record["settings"])
            run = run or _begin(rules, record["run"])
            run.go_on_with(
                staleness=parse_staleness(rules.staleness),
                optimizer=parse_optimizer(rules.server_optimizer),
            )
        elif record["event"] in ("commit", "round"):
            assert run is not None
            is_round = record["event"] == "round"
            new = record["updates"][len(run.contributions) if is_round else 0 :]
            for entry in new:
                _fold(run, entry, updates)
            if is_round:
                run.close_round()
    assert run is not None
    return parameters_sha256(run.tensors)


def _begin(rules: RoundSettings, run_id: str) -> RunState:
    task = load_task(rules.task)(seed=rules.seed)
    network = initial_network(task, rules.seed)
    tensors = global_tensors(task, network)
    return RunState(
        run_id=run_id,
        tensors=tensors,
        kinds=tensor_kinds(network, tensors),
        staleness=parse_staleness(rules.staleness),
        optimizer=parse_optimizer(rules.server_optimizer),
        limits=UpdateLimits(),
    )


def _fold(run: RunState, entry: Mapping[str, Any], updates: Mapping[str, Path]) -> None:
    found = decoded(updates[entry["digest"]])
    assert isinstance(found.message, Update)
    assert found.message.participant == entry["participant"]
    folded = run.fold(found.message, decode_tensors(found), ANY_DIGEST)
    assert (folded.staleness, folded.weight) == (entry["staleness"], entry["weight"])


def _same(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    """Whether two sets of tensors are equal; one that is not there is all zeros."""
    return all(
        torch.equal(one.get(name, torch.zeros(())).expand_as(tensor), tensor)
        for name, tensor in other.items()
    ) and all(name in other or not tensor.any() for name, tensor in one.items())

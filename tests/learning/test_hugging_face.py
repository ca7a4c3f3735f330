"""Facts about `HFTask`: what trains, what travels, and what a run leaves behind."""

import subprocess
import sys
from pathlib import Path
from typing import Literal

import pytest
import torch
from peft import PeftModel
from torch import nn

import fanfold
from fanfold.coordinator.aggregation.initial_model import initial_model
from fanfold.learning import TrainingPlan, named_parameters
from fanfold.participant.trainer import Trainer
from fanfold.schemas import messages
from fanfold.schemas.errors import InvalidInputError
from fanfold.storage import safetensors_file
from tests.learning.tiny_llama import OtherLlama, TinyLlama, batch

pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing:FutureWarning")  # peft's

LOCAL = {"participants": 3, "rounds": 2, "epochs": 2, "batch_size": 4, "lr": 0.5}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> fanfold.Run:
    folder = tmp_path_factory.mktemp("lora")
    return fanfold.simulate(TinyLlama, progress=False, out=folder, **LOCAL)


def trainable(network: nn.Module) -> set[str]:
    """Return the last parts but one of the names of what requires gradients: the matrices."""
    parameters = named_parameters(network).items()
    return {name.split(".")[-3] for name, each in parameters if each.requires_grad}


def logits(network: nn.Module) -> torch.Tensor:
    with torch.no_grad():
        scores: torch.Tensor = network.eval()(input_ids=batch()).logits
    return scores


def test_only_b_requires_gradients_and_a_is_the_same_for_everybody() -> None:
    """As in FFA-LoRA."""
    network, other = TinyLlama().network(), TinyLlama(partition_index=1, num_partitions=2).network()
    assert trainable(network) == {"lora_B"}
    theirs = named_parameters(other)
    assert all(each.equal(theirs[name]) for name, each in named_parameters(network).items())


def test_b_alone_travels(run: fanfold.Run) -> None:
    """No byte of the base, nor of A: two layers' q and v, of rank 4."""
    tensors, _ = safetensors_file.read(run.folder / "model.safetensors")
    assert {name.split(".")[-3] for name in tensors} == {"lora_B"}
    num_bytes = sum(tensor.numel() * 4 for tensor in tensors.values())
    for closed in run.history:
        assert 3 * num_bytes < closed.bytes_down < 3 * (num_bytes + 2000)
        assert 3 * num_bytes < closed.bytes_up < 3 * (num_bytes + 2000)


def test_the_adapter_opens_in_peft_with_the_same_logits(run: fanfold.Run) -> None:
    """Beside the last model and beside the best."""
    for name, load in (("model", run.model), ("best", run.best_model)):
        ours = load(TinyLlama().network(), strict=False)
        theirs = PeftModel.from_pretrained(TinyLlama().model(), run.folder / f"{name}-adapter")
        assert torch.equal(logits(ours), logits(theirs))
        assert not torch.equal(logits(ours), logits(TinyLlama().model()))


def test_it_learns_and_tells_the_perplexity(run: fanfold.Run) -> None:
    """That of the mean over the tokens that are predicted."""
    first, last = (dict(run.history[place].metrics or {}) for place in (0, -1))
    assert last["perplexity"] == pytest.approx(torch.tensor(last["loss"]).exp().item())
    assert last["perplexity"] < first["perplexity"]


def test_alternate_trains_both_matrices_by_turns(tmp_path: Path) -> None:
    """B from version 0 and A from version 1, as in RoLoRA; both travel."""
    run = fanfold.simulate(TinyLlama, progress=False, out=tmp_path, lora="alternate", **LOCAL)
    network = run.model(TinyLlama().network(), strict=False)
    before = named_parameters(TinyLlama().network())
    changed = {
        name.split(".")[-3]
        for name, each in named_parameters(network).items()
        if not each.equal(before[name])
    }
    assert changed == {"lora_A", "lora_B"}


@pytest.mark.parametrize(("matrix", "name"), [("A", "lora_A"), ("B", "lora_B"), (None, "lora_B")])
def test_a_plan_names_the_matrix_that_trains(matrix: Literal["A", "B"] | None, name: str) -> None:
    """Without a name it is B."""
    task = TinyLlama()
    network = task.network()
    task.choose_lora(network, TrainingPlan(lora=matrix))
    assert trainable(network) == {name}


def test_another_base_is_refused_at_the_first_version() -> None:
    """One sentence says what differs."""
    model = initial_model(TinyLlama(), 0)
    trainer = Trainer(OtherLlama(), "ann", seed=0)
    with pytest.raises(InvalidInputError, match="are not the coordinator's"):
        trainer.train(
            model.tensors,
            version=0,
            plan=messages.TrainingPlan(steps=1),
            frozen=model.form.frozen_sha256,
        )


def test_alternate_needs_a_task_that_tunes_an_adapter(tmp_path: Path) -> None:
    """Another task cannot take turns."""
    with pytest.raises(fanfold.FanfoldError, match="derive it from fanfold\\.HFTask"):
        fanfold.simulate("digits", lora="alternate", progress=False, out=tmp_path, participants=2)


def test_without_the_extra_a_sentence_names_it() -> None:
    """And everything else works without it."""
    program = "import sys; sys.modules['peft'] = None; import fanfold; fanfold.Task; fanfold.HFTask"
    done = subprocess.run(
        [sys.executable, "-c", program], text=True, capture_output=True, check=False
    )
    assert "pip install -e '.[hf]'" in done.stderr

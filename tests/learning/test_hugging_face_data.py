"""Facts about what `HFTask` makes of its data, and of models that are no language models."""

from typing import Any

import pytest
import torch
from peft import LoraConfig
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import BertConfig, BertForSequenceClassification

from fanfold.coordinator.aggregation.initial_model import initial_model
from fanfold.learning import TaskError, seeded
from fanfold.learning.hugging_face import IGNORED
from fanfold.participant.trainer import Trainer
from fanfold.schemas.messages import TrainingPlan
from tests.learning.tiny_llama import TinyLlama

pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing:FutureWarning")  # peft's

PLAN = TrainingPlan(steps=60, batch_size=8, lr=0.05, optimizer="adam", threads=1)


class Sentiment(TinyLlama):
    """An encoder that tells texts apart; its classifier is new, and travels whole."""

    def model(self) -> Any:
        config = BertConfig(
            vocab_size=32,
            hidden_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=16,
        )
        with seeded(1):
            return BertForSequenceClassification(config)

    def train_data(self) -> Any:
        return [("w1 w2 w1", 0), ("w9 w8", 1)] * 4


class Wrong(TinyLlama):
    def lora_config(self) -> LoraConfig:
        return LoraConfig(target_modules=["query"])


@pytest.mark.parametrize(
    ("examples", "labels"),
    [
        (["w1 w2", "w3"], [[1 + 1, 2 + 1], [3 + 1, IGNORED]]),
        ([("w1 w2", 1), ("w3", 0)], [1, 0]),
        ([{"text": "w1 w2", "label": 1}, {"text": "w3", "label": 0}], [1, 0]),
        ([{"input_ids": [2, 3]}, {"input_ids": [4]}], [[2, 3], [4, IGNORED]]),
        (
            [{"input_ids": [2, 3], "labels": [IGNORED, 3]}, {"input_ids": [4], "labels": [4]}],
            [[IGNORED, 3], [4, IGNORED]],
        ),
    ],
)
def test_examples_of_every_form_make_a_batch(examples: Any, labels: Any) -> None:
    """Texts, pairs, rows of a table, and token ids with and without labels."""
    batch = TinyLlama().collate(examples)
    assert batch["input_ids"].tolist() == [[2, 3], [4, 0]]
    assert batch["attention_mask"].tolist() == [[1, 1], [1, 0]]
    assert batch["labels"].tolist() == labels


def test_an_encoder_with_a_new_classifier_learns() -> None:
    """The classifier is trained whole beside the adapter, and is in its files."""
    task = Sentiment()
    model = initial_model(task, 0)
    assert any("classifier.modules_to_save" in name for name in model.tensors)
    trainer = Trainer(task, "ann")
    trainer.train(model.tensors, version=0, plan=PLAN, frozen=model.form.frozen_sha256)
    assert task.evaluate(trainer.network, task.train_data())["accuracy"] == 1
    assert model.form.adapter is not None
    files, _ = model.form.adapter.files(model.form.whole(model.tensors))
    assert any(name.endswith("classifier.weight") for name in files)


def test_perplexity_is_of_the_mean_over_all_predicted_tokens() -> None:
    """Not of the mean of batches, whose texts differ in length."""
    task = TinyLlama()
    network = task.network()
    data: Any = task.test_data()
    losses: list[Tensor] = []
    for example in data:
        tokens = task.processor()(example, return_tensors="pt")["input_ids"]
        with torch.no_grad():
            scores = network(tokens).logits[0, :-1]
        losses.append(cross_entropy(scores, tokens[0, 1:], reduction="none"))
    measured = task.evaluate(network, data)
    assert measured["perplexity"] == pytest.approx(float(torch.cat(losses).mean().exp()), rel=1e-5)


def test_who_took_turns_takes_part_in_a_run_of_b_alone() -> None:
    """What trained last does not decide what is frozen next."""
    trainer = Trainer(TinyLlama(), "ann")
    for lora, matrix in (("alternate", "A"), ("ffa", None)):
        model = initial_model(TinyLlama(), 0, lora=lora)
        plan = PLAN.model_copy(update={"lora": matrix, "steps": 1})
        update = trainer.train(model.tensors, version=1, plan=plan, frozen=model.form.frozen_sha256)
        assert all(f"lora_{matrix or 'B'}" in name for name in update.tensors)


def test_layers_that_are_not_there_are_named() -> None:
    """In the words of peft."""
    with pytest.raises(TaskError, match=r"peft makes no adapter for LlamaForCausalLM: .*query"):
        Wrong().network()

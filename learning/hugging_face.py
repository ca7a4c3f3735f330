"""Models of Hugging Face, tuned with a LoRA adapter: only the adapter travels.

LoRA adds BA to a weight W that stays as it is: A [rank, in] is drawn at random, B [out, rank]
begins at 0 (Hu et al. 2021). The product of means is not the mean of products, so a federation
trains one of the two at a time: B alone, with an A that everybody draws from one seed (FFA-LoRA,
Sun et al. 2024), or both by turns (RoLoRA, Chen et al. 2024).

This module needs transformers and peft; nothing else imports it when it is loaded.
"""

import json
import re
import warnings
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from functools import cached_property
from math import exp
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import Dataset, default_collate

from fanfold.learning.adapter import Adapter, Matrices
from fanfold.learning.collation import batch_length
from fanfold.learning.errors import LearningError, TaskError
from fanfold.learning.measures import Metrics
from fanfold.learning.outputs import LABELS, main_output
from fanfold.learning.seeding import seeded
from fanfold.learning.task import Task
from fanfold.learning.walk import unwrapped

try:
    from peft import LoraConfig, PeftModel, get_peft_model, get_peft_model_state_dict
    from transformers import PreTrainedModel
except ImportError:
    raise LearningError(
        "fanfold.HFTask takes transformers and peft: "
        "pip install -e '.[hf]' in the checkout, or 'FILE.whl[hf]'"
    ) from None

IGNORED = -100
"""The label of a token that is not predicted, as in transformers."""
TASK_TYPES = {
    "ForCausalLM": "CAUSAL_LM",
    "ForSequenceClassification": "SEQ_CLS",
    "ForTokenClassification": "TOKEN_CLS",
    "ForQuestionAnswering": "QUESTION_ANS",
    "ForConditionalGeneration": "SEQ_2_SEQ_LM",
}
"""What peft calls a model's purpose, by the end of its class's name."""
MATRIX = re.compile(r"\.lora_(?:embedding_)?([AB])\.")
"""In the name of a parameter."""


class HFTask(Task):
    """Tunes a model of transformers with a LoRA adapter; the model itself never travels.

    Write `model`, `processor` and `train_data`. Every participant loads the model itself, and one
    whose model differs from the coordinator's in a single bit is refused at its first version. A
    run leaves the adapter beside its model, in folders that `PeftModel.from_pretrained` opens.

    An example of the data is a text; a pair (input, label); a dict with `text`, and perhaps
    `label`; or a dict of token ids and whatever else the model takes. Without labels the model
    learns to predict the text's next token.

    Attributes:
        rank: of the default adapter.
        alpha: its scale: alpha / rank times BA is added to each weight.
        max_length: most tokens of a text; what follows is cut off.
        adapter_seed: draws the matrices A, the same for everybody and in every run.
        evaluation_batch_size: as in `Task`.
    """

    rank: int = 8
    alpha: int = 16
    max_length: int = 512
    adapter_seed: int = 0
    evaluation_batch_size: int = 8

    @abstractmethod
    def model(self) -> PreTrainedModel:
        """Return a new base model, for instance from `AutoModelForCausalLM.from_pretrained`."""

    @abstractmethod
    def processor(self) -> Any:
        """Return the tokenizer of texts, or the processor of images; called once."""

    @cached_property
    def _processor(self) -> Any:
        return self.processor()

    def lora_config(self) -> LoraConfig:
        """Return which layers get an adapter, by default q and v of each attention."""
        return LoraConfig(r=self.rank, lora_alpha=self.alpha)

    def network(self) -> nn.Module:
        """Return the base with its adapter, of which only B requires gradients.

        Raises:
            TaskError: if the adapter does not fit the model.
        """
        model, config = self.model(), self.lora_config()
        if config.task_type is None:
            config.task_type = next(
                (kind for end, kind in TASK_TYPES.items() if type(model).__name__.endswith(end)),
                None,
            )
        try:
            with seeded(self.adapter_seed), warnings.catch_warnings():
                warnings.simplefilter("ignore", FutureWarning)  # peft's calls of transformers
                network: nn.Module = get_peft_model(model, config)
        except (TypeError, ValueError) as error:
            raise TaskError(
                f"peft makes no adapter for {type(model).__name__}: {error} (see the task's "
                "`lora_config`)"
            ) from error
        LoraAdapter(network).train("B")
        return network

    def adapter(self, network: nn.Module) -> Adapter:
        """Return the adapter in a network of this task."""
        return LoraAdapter(unwrapped(network))

    def collate(self, examples: list[Any]) -> dict[str, Tensor]:
        """Make a batch: what the processor makes of the inputs, and `labels`."""
        if isinstance(examples[0], Mapping) and "text" not in examples[0]:
            if "input_ids" not in examples[0]:
                return dict(default_collate(examples))
            labels = [_label(each) for each in examples]
            tokens = [{n: v for n, v in each.items() if n not in LABELS} for each in examples]
            batch = self._processor.pad(tokens, return_tensors="pt")
        else:
            pairs = [_input_and_label(each) for each in examples]
            inputs, labels = [value for value, _ in pairs], [label for _, label in pairs]
            if isinstance(inputs[0], str):
                limits = {"padding": True, "truncation": True, "max_length": self.max_length}
                batch = self._processor(inputs, return_tensors="pt", **limits)
            else:
                batch = self._processor(images=inputs, return_tensors="pt")
        return {**batch, "labels": _batch_of_labels(labels, batch)}

    def batch_length(self, batch: Any) -> int:
        """Return the number of examples; in an evaluation of tokens, of those predicted."""
        labels = batch.get("labels") if isinstance(batch, Mapping) else None
        if torch.is_grad_enabled() or labels is None or labels.dim() <= 1:
            return batch_length(batch)  # training does not wait for a number on the device
        return max(1, int((labels[:, 1:] != IGNORED).sum()))

    def metrics(self, outputs: Any, targets: Any) -> dict[str, Tensor]:
        """Return the accuracy in an evaluation, for texts that of the tokens; else nothing."""
        if torch.is_grad_enabled():
            return {}
        scores = main_output(outputs)
        if not isinstance(targets, Tensor) or scores.shape[:-1] != targets.shape:
            return {}
        if "CausalLM" in type(outputs).__name__:
            scores, targets = scores[:, :-1], targets[:, 1:]
        known = targets != IGNORED
        right = (scores.argmax(-1) == targets) & known
        return {"accuracy": right.sum() / known.sum().clamp(min=1)}

    def evaluate(self, network: nn.Module, data: Dataset[Any]) -> Metrics:
        """Evaluate as any task; of a language model also `perplexity`, of the mean over tokens."""
        measured = super().evaluate(network, data)
        base = unwrapped(network)
        if isinstance(base, PeftModel) and base.peft_config["default"].task_type == "CAUSAL_LM":
            measured["perplexity"] = exp(measured["loss"])
        return measured


class LoraAdapter:
    """The LoRA adapter in one network, which peft has put there."""

    def __init__(self, network: Any) -> None:
        self._network = network

    def train(self, matrices: Matrices) -> None:
        """Let these matrices require gradients, and the adapter's others not."""
        for name, parameter in self._network.named_parameters():
            if found := MATRIX.search(name):
                parameter.requires_grad_(found[1] in matrices)

    def files(self, tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], str]:
        """Return `adapter_model.safetensors` and `adapter_config.json`, as peft writes them."""
        state = get_peft_model_state_dict(
            self._network,
            state_dict=dict(tensors),
            save_embedding_layers=False,  # peft would look for the base on its hub
        )
        config = {**self._network.peft_config["default"].to_dict(), "inference_mode": True}
        return state, json.dumps(config, indent=2, sort_keys=True, default=sorted)


def _input_and_label(example: Any) -> tuple[Any, Any]:
    if isinstance(example, Mapping):
        return example["text"], _label(example)
    if isinstance(example, str):
        return example, None
    value, label = example
    return value, label


def _label(example: Mapping[str, Any]) -> Any:
    return next((example[name] for name in LABELS if name in example), None)


def _batch_of_labels(labels: Sequence[Any], batch: Mapping[str, Tensor]) -> Tensor:
    """Return one label for each example, or one for each token; without any, the tokens."""
    if labels[0] is None:
        return batch["input_ids"].masked_fill(batch["attention_mask"] == 0, IGNORED)
    rows = [torch.as_tensor(each) for each in labels]
    if not rows[0].dim():
        return torch.stack(rows)
    return pad_sequence(rows, batch_first=True, padding_value=IGNORED)

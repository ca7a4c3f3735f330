"""A Llama of a few thousand parameters, and texts that it can learn to continue."""

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

import fanfold
from fanfold.learning import seeded

PAD = "<pad>"
WORDS = [PAD, *(f"w{number}" for number in range(31))]


class TinyLlama(fanfold.HFTask):
    """Each participant's texts count up from a word of their own."""

    rank = 4
    base_seed = 0

    def model(self) -> LlamaForCausalLM:
        with seeded(self.base_seed):
            return LlamaForCausalLM(
                LlamaConfig(
                    vocab_size=len(WORDS),
                    hidden_size=32,
                    intermediate_size=64,
                    num_hidden_layers=2,
                    num_attention_heads=4,
                    num_key_value_heads=2,
                    pad_token_id=0,
                )
            )

    def processor(self) -> PreTrainedTokenizerFast:
        vocabulary = {word: number for number, word in enumerate(WORDS)}
        tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=PAD))
        tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
        return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token=PAD)

    def train_data(self) -> list[str]:
        return [text(self.partition_index + number) for number in range(16)]

    def test_data(self) -> list[str]:
        return [text(number) for number in range(31)]


class OtherLlama(TinyLlama):
    """The same task on another base."""

    base_seed = 1


def text(first: int, length: int = 8) -> str:
    """Return words that count up, of different numbers for different beginnings."""
    return " ".join(f"w{(first + step) % 31}" for step in range(length - first % 3))


def batch() -> torch.Tensor:
    """Return token ids [2, 8]."""
    return torch.arange(16).reshape(2, 8) + 1

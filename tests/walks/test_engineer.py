"""An engineer's walk: from the README to an adapter of three offices' letters that peft opens.

Each office has a folder with letters, of which it wants to know the urgent ones. She keeps a small
model of transformers in her folder, writes the documents' `HFTask` around it, checks it, trains it,
and reads the new letters with transformers and peft alone.
"""

import json
import random
from pathlib import Path

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

from fanfold.learning import seeded
from tests.walks.commands import fanfold, of_name, python

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

OFFICES = {"lisbon": 60, "oslo": 36, "vienna": 48}
"""Letters of each."""
NEW = 40
"""Letters that nobody trains on."""
ROUNDS = 5
URGENT = ("broken", "leaking", "burning", "stuck")
CALM = ("painted", "cleaned", "ordered", "moved")
THINGS = ("door", "lift", "pipe", "lamp", "stove", "roof", "window", "fence")

TASK = '''
import json

from transformers import AutoModelForSequenceClassification, AutoTokenizer

from fanfold import HFTask, TaskError


class Letters(HFTask):
    """Tells urgent letters from others; every office has its own folder."""

    rank = 4

    def model(self):
        return AutoModelForSequenceClassification.from_pretrained("base")

    def processor(self):
        return AutoTokenizer.from_pretrained("base")

    def train_data(self):
        if self.data_dir is None:
            raise TaskError("name the office's folder with --data")
        with (self.data_dir / "letters.jsonl").open() as file:
            return [json.loads(line) for line in file]  # dicts with text and label

    def test_data(self):  # for the coordinator, which has a folder of its own
        return self.train_data() if self.data_dir else None
'''
READING = """
import json
import sys

sys.modules["fanfold"] = None  # no import of it succeeds

import torch
from peft import PeftModel
from transformers import AutoModelForSequenceClassification, AutoTokenizer

with open("data/new/letters.jsonl") as file:
    letters = [json.loads(line) for line in file]
texts = AutoTokenizer.from_pretrained("base")(
    [each["text"] for each in letters], padding=True, return_tensors="pt"
)
labels = torch.tensor([each["label"] for each in letters])
base = AutoModelForSequenceClassification.from_pretrained("base").eval()
with torch.no_grad():
    untuned = base(**texts).logits
    tuned = PeftModel.from_pretrained(base, "runs/letters/model-adapter").eval()(**texts).logits
for scores in (untuned, tuned):
    loss = torch.nn.functional.cross_entropy(scores, labels)
    right = (scores.argmax(1) == labels).float().mean()
    print(json.dumps({"loss": float(loss), "accuracy": float(right)}))
"""
PAD, UNKNOWN = "<pad>", "<unk>"
FOLDERS = [flag for name in OFFICES for flag in ("--data", f"data/{name}")]
HELD_OUT = ("--test-data", "data/new")


def write_base(folder: Path) -> None:
    """Save a model of random parameters and its tokenizer, as one from a hub would lie there."""
    words = [PAD, UNKNOWN, "the", "is", "since", "monday", *URGENT, *CALM, *THINGS]
    tokenizer = Tokenizer(
        models.WordLevel({word: at for at, word in enumerate(words)}, unk_token=UNKNOWN)
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token=PAD, unk_token=UNKNOWN
    ).save_pretrained(folder)
    config = BertConfig(
        vocab_size=len(words),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=16,
        initializer_range=0.2,  # words differ, as in a model that was trained
    )
    with seeded(0):
        BertForSequenceClassification(config).save_pretrained(folder)


def write_letters(folder: Path) -> None:
    """Give each office its letters, of different length, and keep new ones apart."""
    chance = random.Random(0)
    for name, number in {**OFFICES, "new": NEW}.items():
        (folder / name).mkdir(parents=True)
        with (folder / name / "letters.jsonl").open("w") as file:
            for _ in range(number):
                label = chance.randrange(2)
                text = f"the {chance.choice(THINGS)} is {chance.choice((CALM, URGENT)[label])}"
                text += chance.choice(("", " since monday"))
                file.write(json.dumps({"text": text, "label": label}) + "\n")


class Walk:
    """Her folder after the run, and what was told of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        write_base(folder / "base")
        write_letters(folder / "data")
        (folder / "letters.py").write_text(TASK)
        (folder / "reading.py").write_text(READING)
        task = ("--task", "letters:Letters")
        self.checked = fanfold(folder, "check", *task, "--data", "data/lisbon")
        flags = [f"--rounds={ROUNDS}", "--epochs=4", "--batch-size=8", "--out=runs/letters"]
        flags += ["--optimizer=adamw", "--lr=2e-2", "--device=cpu"]
        self.told = fanfold(folder, "local", *task, *FOLDERS, *HELD_OUT, *flags)
        self.closed = of_name(self.told, "round_closed")
        self.untuned, self.tuned = (
            json.loads(line) for line in python(folder, "reading.py") if line.startswith("{")
        )


@pytest.fixture(scope="module")
def walk(tmp_path_factory: pytest.TempPathFactory) -> Walk:
    return Walk(tmp_path_factory.mktemp("engineer"))


def test_the_check_knows_her_letters_before_anything_runs(walk: Walk) -> None:
    (checked,) = [each for each in walk.checked if "held_out_examples" in each]
    assert checked["examples"] == OFFICES["lisbon"]


def test_only_the_adapter_and_the_head_travel(walk: Walk) -> None:
    """Every office's update counts in every round, and is smaller than the base by far."""
    assert [(each["updates"], each["examples"]) for each in walk.closed] == [
        (len(OFFICES), sum(OFFICES.values()))
    ] * ROUNDS
    base = (walk.folder / "base" / "model.safetensors").stat().st_size
    assert all(each["bytes_up"] / len(OFFICES) < base / 10 for each in walk.closed)


def test_the_adapter_opens_without_fanfold(walk: Walk) -> None:
    """With transformers and peft alone it measures what the coordinator said of the last round."""
    said = walk.closed[-1]["metrics"]
    for name in ("loss", "accuracy"):
        assert walk.tuned[name] == pytest.approx(said[name], abs=1e-5)


def test_it_has_learned_what_the_base_does_not_know(walk: Walk) -> None:
    assert walk.tuned["accuracy"] > 0.9 > walk.untuned["accuracy"]

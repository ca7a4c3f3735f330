"""Facts about `make accuracy`: the README's own command, held to what is promised."""

from pathlib import Path

import pytest

from benchmarks import accuracy
from benchmarks.accuracy import ARTICLE_PROMISE, MEAN_PROMISE, Promise, broken, row

ROOT = Path(__file__).parents[2]


def test_the_articles_recipe_is_the_readmes_command() -> None:
    command = "fanfold local --participants 8 --rounds 30 " + " ".join(
        flag.replace("=", " ") for flag in accuracy.ARTICLE_FLAGS
    )
    assert command in (ROOT / "README.md").read_text()
    assert (accuracy.ARTICLE_PARTICIPANTS, accuracy.ARTICLE_ROUNDS) == (8, 30)
    for flag in accuracy.ARTICLE_FLAGS:
        name, _, value = flag.removeprefix("--").partition("=")
        assert getattr(accuracy.ARTICLE, name.replace("-", "_")) == float(value)


@pytest.mark.parametrize(
    ("promise", "ours", "is_kept"),
    [
        (ARTICLE_PROMISE, 0.904, False),
        (ARTICLE_PROMISE, 0.95, True),
        (ARTICLE_PROMISE, 0.98, False),
        (MEAN_PROMISE, 0.959, False),
        (MEAN_PROMISE, 0.961, True),
    ],
)
def test_what_is_not_kept_is_named(promise: Promise, ours: float, is_kept: bool) -> None:
    line = row("a run", [ours], [0.95], promise)
    expected = [] if is_kept else [f"a run: {100 * ours:.2f} % is not {promise}"]
    assert broken([(line, promise)]) == expected

"""Facts about the metric that counts: which version is the best, and when a run ends early."""

import json
from typing import Any

import pytest

from fanfold.coordinator.rounds.metric_goals import parse_goal, parse_metric
from fanfold.coordinator.rounds.metric_watch import MetricWatch
from fanfold.coordinator.settings import CoordinatorSettings, RoundSettings
from fanfold.schemas.errors import InvalidInputError


def watch_of(**options: Any) -> MetricWatch:
    return RoundSettings(**options).watch


def taken(watch: MetricWatch, name: str, *values: float, begin: int = 1) -> MetricWatch:
    for version, value in enumerate(values, begin):
        watch.take(version, {name: value})
    return watch


@pytest.mark.parametrize(
    ("text", "name", "higher"),
    [
        ("accuracy", "accuracy", True),
        ("loss", "loss", False),
        ("loss:max", "loss", True),
        ("auc:max", "auc", True),
        ("a:b:min", "a:b", False),
    ],
)
def test_a_metric_has_a_direction(text: str, name: str, *, higher: bool) -> None:
    metric = parse_metric(text)
    assert (metric.name, metric.higher_is_better) == (name, higher)
    assert parse_metric(str(metric)) == metric


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"metric": "auc"}, "whether 'auc' is better when higher or lower is not known"),
        ({"metric": ":max"}, "whether ':max' is better"),
        ({"patience": 0}, "patience"),
    ],
)
def test_a_wrong_metric_is_refused(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        CoordinatorSettings(**options)


@pytest.mark.parametrize(
    ("until", "sentence"),
    [
        ("0.9", r"--until 0.9 is no goal; write METRIC:VALUE"),
        ("accuracy:high", r"--until accuracy:high is no goal"),
        ("loss:nan", r"--until loss:nan is no goal"),
        ("auc:0.9", r"--until auc:0.9: whether 'auc' is better"),
    ],
)
def test_a_wrong_goal_is_refused(until: str, sentence: str) -> None:
    with pytest.raises(InvalidInputError, match=sentence):
        CoordinatorSettings(until=until)


def test_a_goal_takes_the_direction_of_the_metric() -> None:
    assert parse_goal("auc:0.9", parse_metric("auc:max")).is_reached_by(0.9)
    assert not parse_goal("wer:0.1", parse_metric("wer:min")).is_reached_by(0.2)
    assert RoundSettings(until="wer:0.1", metric="wer:min").watch.goals[0].is_reached_by(0.05)


@pytest.mark.parametrize(
    ("options", "values", "best"),
    [
        ({"metric": "loss"}, (3.0, 1.0, 2.0, 1.0), 2),
        ({"metric": "loss:max"}, (3.0, 1.0, 4.0), 3),
        ({}, (3.0, 1.0, 2.0), 2),
        ({}, (float("nan"), 2.0, float("inf")), 2),
        ({"metric": "loss:max"}, (1.0, float("inf")), 1),
    ],
)
def test_the_first_of_the_best_values_counts(
    options: dict[str, Any], values: tuple[float, ...], best: int
) -> None:
    """Without accuracy it is the loss; what is not finite is never the best."""
    assert taken(watch_of(**options), "loss", *values).best_version == best


def test_accuracy_comes_before_loss_where_nothing_is_said() -> None:
    watch = watch_of()
    watch.take(1, {"loss": 1.0, "accuracy": 0.5})
    watch.take(2, {"loss": 2.0, "accuracy": 0.6})
    watch.take(3, {"loss": 0.1, "accuracy": 0.4})
    assert (watch.best, watch.best_version) == (0.6, 2)


def test_patience_ends_after_so_many_evaluations_in_a_row_without_a_better_one() -> None:
    watch = taken(watch_of(metric="loss", patience=2), "loss", 3.0, 4.0, 2.0, 2.0)
    assert watch.reason_to_end is None
    taken(watch, "loss", 2.5, begin=5)
    assert watch.reason_to_end == (
        "loss was no better in 2 evaluations in a row (--patience 2); its best is 2, of version 3"
    )


def test_a_version_counts_once_and_a_failed_evaluation_not_at_all() -> None:
    watch = taken(watch_of(patience=1), "loss", 1.0)
    watch.take(1, {"loss": 5.0})
    watch.take(2, {})
    assert watch.reason_to_end is None
    assert watch.best == 1.0


def test_a_goal_that_was_reached_once_ends_the_run() -> None:
    watch = taken(watch_of(until="loss:0.5"), "loss", 1.0, 0.5)
    assert watch.reason_to_end == "loss reached 0.5 (--until loss:0.5)"
    assert taken(watch_of(until_accuracy=0.9), "accuracy", 0.95).reason_to_end == (
        "accuracy reached 0.95 (--until-accuracy 0.9)"
    )


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"metric": "auc:max"}, "--metric auc:max: an evaluation of this task measures f1, and no"),
        ({"until": "auc:max:0.9"}, "--until auc:max:0.9: an evaluation of this task measures f1"),
        ({"patience": 3}, "--patience 3 goes by no metric: this task measures neither"),
    ],
)
def test_a_metric_that_nobody_measures_is_refused_at_once(
    options: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(InvalidInputError, match=sentence):
        taken(watch_of(**options), "f1", 0.5)
    assert taken(watch_of(), "f1", 0.5).best is None


def resumed(watch: MetricWatch, **options: Any) -> MetricWatch:
    other = watch_of(**options)
    other.restore(json.loads(json.dumps(watch.state())))
    return other


def test_a_resumed_watch_goes_on_where_it_was() -> None:
    whole = taken(watch_of(metric="loss", patience=3), "loss", 3.0, 1.0, 2.0, 2.0, 0.5, 1.0)
    first = taken(watch_of(metric="loss", patience=3), "loss", 3.0, 1.0, 2.0)
    second = taken(resumed(first, metric="loss", patience=3), "loss", 2.0, 0.5, 1.0, begin=4)
    assert second.state() == whole.state()


def test_other_options_after_a_restart_judge_all_that_was_measured() -> None:
    ended = taken(watch_of(patience=2), "loss", 1.0, 2.0, 3.0)
    assert ended.reason_to_end is not None
    assert resumed(ended, patience=2).reason_to_end == ended.reason_to_end
    assert resumed(ended, patience=3).reason_to_end is None
    assert resumed(ended, until="loss:1").reason_to_end == "loss reached 1 (--until loss:1)"


def test_with_another_metric_the_best_is_sought_anew() -> None:
    before = taken(watch_of(metric="loss"), "loss", 1.0, 2.0)
    after = resumed(before, metric="loss:max")
    assert after.best is None
    assert taken(after, "loss", 0.5, begin=3).best_version == 3

"""Facts about what people are told of a round, and when."""

from fanfold.coordinator.aggregation.metric_means import finite, weighted_means
from fanfold.coordinator.rounds.reports import RoundReports
from fanfold.schemas.events.coordinator import RoundClosed


def closed(version: int) -> RoundClosed:
    return RoundClosed(
        round=version,
        version=version,
        updates=1,
        examples=1,
        loss=None,
        accuracy=None,
        bytes_down=1,
        bytes_up=1,
        seconds=1.0,
    )


def rounds_of(told: list[RoundClosed]) -> list[int]:
    return [each.round for each in told]


def test_rounds_are_told_in_order_once_they_are_evaluated() -> None:
    """One that needs no evaluation waits for the one before it."""
    reports = RoundReports()
    reports.closed(closed(1), awaits_evaluation=True)
    reports.closed(closed(2), awaits_evaluation=False)
    reports.committed()
    assert reports.take_ready() == []
    reports.evaluated(1, {"loss": 0.5, "accuracy": 0.75, "f1": 0.25})
    told = reports.take_ready()
    assert rounds_of(told) == [1, 2]
    assert (told[0].loss, told[0].accuracy) == (0.5, 0.75)
    assert told[0].metrics == {"loss": 0.5, "accuracy": 0.75, "f1": 0.25}
    assert told[1].accuracy is None
    assert reports.last == told[1]


def test_nothing_is_told_before_it_is_committed_nor_twice() -> None:
    """An evaluation that ends between the rounds of one commit tells only those before them."""
    reports = RoundReports()
    reports.closed(closed(1), awaits_evaluation=True)
    reports.committed()
    reports.closed(closed(2), awaits_evaluation=False)
    reports.evaluated(1, {})
    assert rounds_of(reports.take_ready()) == [1]
    reports.committed()
    assert rounds_of(reports.take_ready()) == [2]
    assert reports.take_ready() == []


def test_after_a_restart_only_the_current_version_can_be_evaluated() -> None:
    """The older ones are told without; what was told before is the last one still."""
    before = RoundReports()
    before.closed(closed(1), awaits_evaluation=False)
    before.committed()
    assert rounds_of(before.take_ready()) == [1]
    for version in (2, 3):
        before.closed(closed(version), awaits_evaluation=True)

    after = RoundReports()
    assert after.restore(before.state(), version=3)
    assert after.last == closed(1)
    assert rounds_of(after.take_ready()) == [2]
    after.evaluated(3, {"accuracy": 1.0})
    assert [each.accuracy for each in after.take_ready()] == [1.0]


def test_what_json_has_no_number_for_is_null() -> None:
    """A loss that diverged is no reason for a line that no program can read."""
    reports = RoundReports()
    for version, metrics in ((1, {"loss": float("nan"), "accuracy": 0.5}), (2, {})):
        reports.closed(closed(version), awaits_evaluation=True)
        reports.evaluated(version, metrics)
    reports.committed()
    told = reports.take_ready()
    assert [(each.loss, each.accuracy) for each in told] == [(None, 0.5), (None, None)]
    assert [each.not_finite for each in told] == [("loss",), ()]
    assert finite({"a": float("inf"), "b": 1.0}) == {"b": 1.0}


def test_means_are_weighted_by_examples() -> None:
    """A metric that only some have is of those."""
    reported = [
        (1, {"loss": 2.0}),
        (3, {"loss": 1.0, "accuracy": 0.5}),
        (9, {"loss": float("nan")}),
    ]
    assert weighted_means(reported) == {"loss": 1.25, "accuracy": 0.5}
    assert weighted_means([]) == {}

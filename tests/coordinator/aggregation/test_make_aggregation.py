"""Facts about what cannot go together, and about rules of one's own."""

from pathlib import Path
from typing import Any

import pytest

from fanfold.coordinator.aggregation.aggregator import ByDistance
from fanfold.coordinator.aggregation.registry import BUILT_IN, parse_aggregator
from fanfold.coordinator.aggregation.robust_rules import CenteredClipping, MultiKrum
from fanfold.coordinator.settings import CoordinatorSettings, RoundSettings
from fanfold.schemas.errors import InvalidInputError

GOOD: list[dict[str, Any]] = [
    {"aggregator": "clip", "mode": "async"},
    {"aggregator": "median", "quorum": 3},
    {"aggregator": "median", "quorum": 5, "buckets": 2},
    {"aggregator": "median", "quorum": 3, "mode": "buffered", "staleness": "constant"},
    {"aggregator": "multi-krum:1:2", "quorum": 5, "mode": "buffered"},
    {"aggregator": "geometric-median", "quorum": 5, "mixing": "nnm:2"},
    {"mode": "exact", "goal": 3, "encoding": "int8"},
    {"normalize_steps": True, "mode": "buffered"},
]
BAD: list[tuple[dict[str, Any], str]] = [
    ({"aggregator": "medium"}, "aggregator 'medium' is not understood; use mean, clip"),
    ({"aggregator": "krum"}, "aggregator 'krum' is not understood"),
    ({"aggregator": "krum:x"}, "aggregator 'krum:x' is not understood"),
    ({"aggregator": "clip:nan"}, "aggregator 'clip:nan' is not understood"),
    ({"aggregator": "clip:0"}, "clip:0 must clip at a number above 0"),
    ({"aggregator": "trimmed-mean:0.5"}, "a share from 0 to less than 0.5"),
    ({"aggregator": "krum:-1"}, "krum withstands a number from 0"),
    ({"aggregator": "nowhere:Rule"}, "the module 'nowhere' of aggregator"),
    ({"aggregator": "pathlib:Path"}, "is no rule: Path must be a class that derives from"),
    (
        {"aggregator": "fanfold.coordinator.aggregation.aggregator:Folding"},
        "does not write weigh",
    ),
    ({"aggregator": "median"}, "takes 3 updates or more in each round, and --quorum lets one"),
    ({"aggregator": "krum:2", "quorum": 6}, "set --quorum 7 or more"),
    ({"aggregator": "median", "quorum": 4, "buckets": 2}, "set --quorum 5 or more"),
    ({"aggregator": "trimmed-mean:0.1", "quorum": 9}, "set --quorum 10 or more"),
    (
        {"aggregator": "median", "quorum": 3, "mode": "buffered"},
        "so that --staleness polynomial:0.5 can weigh none; set --staleness constant",
    ),
    ({"aggregator": "clip", "buckets": 2}, "come before a rule that looks at all updates"),
    ({"mixing": "nnm:1"}, "--aggregator mean takes one at a time"),
    ({"aggregator": "median", "quorum": 3, "mixing": "nnm"}, "use nnm:F"),
    ({"mode": "exact", "aggregator": "clip"}, "leave --aggregator clip out"),
    ({"mode": "exact", "normalize_steps": True}, "leave --normalize-steps out"),
    ({"mode": "exact", "encoding": "topk:0.1"}, "--encoding topk:0.1 leaves values out"),
    ({"normalize_steps": True, "aggregator": "clip"}, "believes what each update says"),
    ({"normalize_steps": True, "optimizer": "adam"}, "and not those of --optimizer adam"),
    ({"normalize_steps": True, "proximal_mu": 0.1}, "and not those of --proximal-mu"),
]
PRIVATE: list[tuple[dict[str, Any], str]] = [
    ({"aggregator": "clip"}, "--aggregator clip does not go with --dp-clip"),
    ({"mode": "exact"}, "--mode exact does not go with --dp-clip"),
    ({"normalize_steps": True}, "--normalize-steps does not go with --dp-clip"),
]


@pytest.mark.parametrize("settings", GOOD, ids=str)
def test_what_goes_together_is_let_pass(settings: dict[str, Any]) -> None:
    assert RoundSettings(**settings).aggregation.seed == 0


@pytest.mark.parametrize(("settings", "sentence"), BAD, ids=str)
def test_what_cannot_go_together_is_refused(settings: dict[str, Any], sentence: str) -> None:
    """In words that say what to change, at start-up."""
    with pytest.raises((ValueError, InvalidInputError), match=sentence):
        RoundSettings(**settings)


@pytest.mark.parametrize(("settings", "sentence"), PRIVATE, ids=str)
def test_a_private_run_takes_the_mean_alone(settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises((ValueError, InvalidInputError), match=sentence):
        CoordinatorSettings(dp_clip=1.0, dp_noise=1.0, **settings)


def test_every_rule_can_be_named() -> None:
    """With its arguments, and without those that need not be given."""
    arguments = {"trimmed-mean": ":0.2", "krum": ":1", "multi-krum": ":1:2"}
    for name, (rule, _, _) in BUILT_IN.items():
        assert type(parse_aggregator(name + arguments.get(name, ""))) is rule
    clipping = parse_aggregator("centered-clipping:0.5")
    assert isinstance(clipping, CenteredClipping)
    assert clipping.tau == 0.5
    krum = parse_aggregator("multi-krum:2:3")
    assert isinstance(krum, MultiKrum)
    assert (krum.f, krum.m, krum.least_updates) == (2, 3, 7)


def test_a_rule_of_ones_own_is_found_in_the_current_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its arguments are numbers; too many of them are refused in words."""
    (tmp_path / "own_rule_of_a_test.py").write_text(
        "from fanfold.coordinator.aggregation.aggregator import ByDistance\n"
        "class Own(ByDistance):\n"
        "    def __init__(self, much: float) -> None:\n"
        "        self.much = much\n"
        "    def coefficients(self, gram, weights):\n"
        "        return weights * self.much\n"
    )
    monkeypatch.chdir(tmp_path)
    rule = parse_aggregator("own_rule_of_a_test:Own:0.5")
    assert isinstance(rule, ByDistance)
    assert rule.coefficients.__self__.much == 0.5
    with pytest.raises(InvalidInputError, match="cannot be made"):
        parse_aggregator("own_rule_of_a_test:Own:1:2")

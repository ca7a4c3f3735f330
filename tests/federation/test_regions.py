"""Facts about regions: the sums of federations below, in the rounds of one above."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from fanfold.monitoring.event_log import EVENTS
from fanfold.region.assembly import serve as serve_region
from fanfold.region.metrics import RegionMetrics
from fanfold.region.settings import RegionSettings
from fanfold.report.page import page
from fanfold.runs.replay import replay
from fanfold.runs.run_data import read_run
from fanfold.runs.settings import ReplaySettings
from fanfold.runs.tables import table_of
from fanfold.schemas.errors import FanfoldError, InvalidInputError
from fanfold.views.wall_clock import utc_now

ROUNDS = 4
REGIONS = {"north": (0, 1), "south": (2, 3)}


def region_settings(live: Any, name: str, out: Path, **options: Any) -> RegionSettings:
    return RegionSettings(
        **{
            "id": name,
            "upstream_federation": live.name,
            "upstream_broker": (live.url,),
            "federation": name,
            "broker": (live.url,),
            "out": out / name,
            "min_participants": 2,
            "reconnect_seconds": 0.5,
            **options,
        }
    )


def start_region(
    live: Any, name: str, out: Path, metrics: RegionMetrics | None = None, **options: Any
) -> Any:
    seen = {"observer": metrics.below, "observer_above": metrics.above} if metrics else {}
    serve = partial(serve_region, wall_clock=utc_now, **seen)
    return live.start(serve, region_settings(live, name, out, **options))


def start_participants(live: Any, **regions: tuple[int, ...]) -> list[Any]:
    """Start some of four participants, each in the federation of its region."""
    return [
        live.participant("Tiny", index, 4, federation=federation)
        for federation, indices in regions.items()
        for index in indices
    ]


def run(live: Any, out: Path, **options: Any) -> Any:
    return live.coordinator(
        "Tiny",
        **{"rounds": ROUNDS, "out": out, **options},
    )


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ["fixed", "float32"])
def test_a_tree_ends_with_the_model_of_the_flat_run(
    live: Any, tmp_path: Path, encoding: str
) -> None:
    """In fixed point bit for bit; in floats a mean of means rounds once more."""
    weights = {"max_examples": 5} if encoding == "fixed" else {}
    name = f"{live.name}-flat"  # what they last said there is not for the root to hear
    flat = run(
        live, tmp_path / "flat", federation=name, encoding=encoding, min_participants=4, **weights
    )
    start_participants(live, **{name: (0, 1, 2, 3)})
    expected = flat.result.result(90)
    live.stop_all()

    root = run(
        live,
        tmp_path / "tree",
        encoding=encoding,
        min_participants=2,
        max_region_updates=2,
        **weights,
    )
    metrics = RegionMetrics(region_settings(live, "north", tmp_path), version="1")
    regions = [
        start_region(live, name, tmp_path, metrics if name == "north" else None) for name in REGIONS
    ]
    participants = start_participants(live, **REGIONS)
    result = root.result.result(90)
    assert result.rounds == ROUNDS
    told = [(each["updates"], each["single_updates"]) for each in root.all("round_closed")]
    assert told == [(2, 4)] * ROUNDS
    rows = table_of(tmp_path / "tree", "rounds")
    assert [(row["updates"], row["single_updates"]) for row in rows] == told
    assert [row["updates"] for row in table_of(tmp_path / "tree", "updates")] == [2] * 2 * ROUNDS
    assert "(region of 2 participants)" in page(read_run(tmp_path / "tree"), is_alive=False)
    regions[0].wait_for("update_sent", times=ROUNDS)
    sample = metrics.registry.get_sample_value
    assert sample("fanfold_participant_updates_total", {"outcome": "sent"}) == ROUNDS
    assert metrics.is_ready()
    for region in regions:
        (finished,) = region.wait_for("run_finished")
        assert finished["rounds"] == ROUNDS - 1  # nobody below is asked for the last version
        assert (finished["upstream_version"], finished["accuracy"]) == (ROUNDS, result.accuracy)
    for each in participants:
        (over,) = each.wait_for("run_over")
        assert (over["version"], over["accuracy"]) == (ROUNDS, result.accuracy)
    folded = {"outcome": "folded", "reason": ""}
    assert sample("fanfold_coordinator_updates_total", folded) == 2 * ROUNDS
    own = tmp_path / "north" / root.all("run_started")[0]["run"]
    for told in ('"run_started"', '"round_opened"', '"update_counted"'):
        assert told in (own / EVENTS).read_text(), "a page of the region shows it as it goes"
    assert f"region north of {live.name}" in page(read_run(own), is_alive=False)
    with pytest.raises(InvalidInputError, match=r"is of the region north of.*cannot be replayed"):
        replay(ReplaySettings(out=own), say=print)
    if encoding == "fixed":
        assert result.parameters_sha256 == expected.parameters_sha256
        return
    one, other = (load_file(tmp_path / each / "model.safetensors") for each in ("flat", "tree"))
    for name, tensor in one.items():
        torch.testing.assert_close(other[name], tensor, rtol=2.0**-20, atol=2.0**-20)


@pytest.mark.slow
def test_a_private_run_refuses_regions_in_words(live: Any, tmp_path: Path) -> None:
    """What it promises holds for single participants, and a sum hides them."""
    run(live, tmp_path / "root", dp_clip=1.0, dp_noise=0.5, goal=2, min_participants=1)
    region = start_region(live, "north", tmp_path)
    with pytest.raises(InvalidInputError, match=r"has differential privacy.*cannot take part"):
        region.result.result(90)


@pytest.mark.slow
def test_a_region_keeps_to_its_share_of_the_line(live: Any, tmp_path: Path) -> None:
    """A version of 20 kB comes, and a sum goes, at 10 kB a second; below there is no bound."""
    root = live.coordinator(
        "Gated", rounds=1, out=tmp_path / "root", min_participants=1, max_region_updates=1
    )
    options = {"min_participants": 1, "max_bytes_per_second": 10_000}
    start_region(live, "north", tmp_path, **options)
    live.participant("Gated", federation="north")
    root.result.result(90)
    assert root.all("round_closed")[0]["seconds"] > 3


@pytest.mark.slow
def test_sums_are_taken_where_that_was_said(live: Any, tmp_path: Path) -> None:
    """A coordinator that weighs updates one by one knows what it takes; a refused sum is kept."""
    root = run(live, tmp_path / "root", min_participants=1, deadline_seconds=5)
    region = start_region(live, "north", tmp_path)
    participants = start_participants(live, north=(0, 1))
    with pytest.raises(FanfoldError, match=r"of 2 updates; none allowed, see --max-region-updates"):
        root.result.result(90)
    again = run(live, tmp_path / "root", min_participants=1, max_region_updates=2)
    assert again.result.result(90).rounds == ROUNDS
    assert len(region.all("update_refused")) == 1
    for each in participants:
        assert [told["version"] for told in each.all("update_sent")] == list(range(ROUNDS))


@pytest.mark.slow
def test_participants_hear_of_an_end_that_came_while_their_region_was_away(
    live: Any, tmp_path: Path
) -> None:
    """It goes on with the run that it was in, and has its last line and model."""

    def region() -> Any:
        return live.command(
            *("region", "--id=north", f"--upstream-federation={live.name}", "--federation=north"),
            *(f"--upstream-broker={live.url}", "--json", f"--out={tmp_path / 'north'}"),
        )

    root = run(live, tmp_path / "root", rounds=1, min_participants=1, max_region_updates=1)
    participant = live.participant("Tiny", federation="north")
    north = region()
    north.wait_for("update_sent")
    north.kill()
    root.result.result(90)
    north = region()
    (over,) = participant.wait_for("run_over")
    assert over["version"] == 1
    assert Path(north.wait_for("run_finished")["model"]).exists()

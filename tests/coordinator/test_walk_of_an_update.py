"""The walk of an update from the broker to the sum, as the page tells it and as it really is."""

import re
import sys
from pathlib import Path
from types import FrameType

import pytest

from fanfold.coordinator.aggregation.running_sum import RunningSum
from fanfold.coordinator.event_loop import EventLoop
from fanfold.transport import Delivery
from tests.coordinator.fake_broker import FakeBroker

ROOT = Path(__file__).parent.parent.parent
PAGE = ROOT / "docs" / "architecture.md"
ROOMS = ("coordinator", "transport", "sealing", "schemas", "storage")
SUM = RunningSum.fold.__code__
LOOP = ("coordinator/event_loop.py", "EventLoop._take")


def section() -> str:
    """What the page says about the way of an update."""
    text = PAGE.read_text(encoding="utf-8")
    return text.partition("## An update from the broker to the sum")[2].partition("\n## ")[0]


def hops() -> list[str]:
    """The walk that the page tells, one `file:function` a hop."""
    return re.findall(r"^\| \d+ \| `([^`]+)`", section(), re.MULTILINE)


def place_of(frame: FrameType) -> tuple[str, str] | None:
    """The file and function of a frame, if it is one of ours."""
    file = Path(frame.f_code.co_filename).resolve()
    if not file.is_relative_to(ROOT) or file.relative_to(ROOT).parts[0] not in ROOMS:
        return None
    return str(file.relative_to(ROOT)), frame.f_code.co_qualname


class Watch:
    """Notes all functions of ours that are entered while one update of one chunk is taken."""

    def __init__(self) -> None:
        self.entered: list[tuple[str, str]] = []
        self.stack: list[tuple[str, str]] = []
        """Which of them were running when the sum was reached, the outermost first."""

    def __call__(self, frame: FrameType, event: str, _: object) -> None:
        if event != "call" or self.stack or (place := place_of(frame)) is None:
            return
        self.entered.append(place)
        if frame.f_code is SUM:
            sys.setprofile(None)
            each: FrameType | None = frame
            while each is not None:
                if (place := place_of(each)) is not None:
                    self.stack.insert(0, place)
                each = each.f_back


@pytest.fixture
def watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Watch:
    """An update of one chunk, taken by a coordinator that runs its first round."""
    broker, watch, take = FakeBroker(tmp_path), Watch(), EventLoop._take

    def taken(loop: EventLoop, event: object) -> None:
        is_update = isinstance(event, Delivery) and event.kind == "Update"
        if is_update and not watch.stack:
            watch.entered.append(LOOP)
            sys.setprofile(watch)
        try:
            take(loop, event)
        finally:
            sys.setprofile(None)

    monkeypatch.setattr(EventLoop, "_take", taken)
    broker.hello("ann")
    broker.on_version = lambda version: broker.update("ann", version)
    assert broker.run(rounds=1).is_finished
    return watch


def test_an_update_takes_at_most_10_hops_from_the_broker_to_the_sum() -> None:
    """The walk begins where the broker's client hands it over."""
    walk = hops()
    assert walk[0] == "transport/io/consumer.py:Consumer._on_message"
    assert walk[-1] == "coordinator/aggregation/running_sum.py:RunningSum.fold"
    assert len(walk) <= 10


def test_the_walk_that_the_page_tells_is_the_one_that_is_walked(watched: Watch) -> None:
    """In the coordinator's thread: each file that hands the update on, and no other."""
    walked: list[str] = []
    for file, function in watched.stack[watched.stack.index(LOOP) :]:
        if not walked or not walked[-1].startswith(f"{file}:"):
            walked.append(f"{file}:{function}")
    told = hops()
    assert walked == told[told.index(":".join(LOOP)) :]


def test_what_is_asked_on_the_way_stands_in_the_walk(watched: Watch) -> None:
    """Every file of the coordinator's that is entered, but for pure arithmetic of one number."""
    names = ("float64", "staleness", "metric_means", "refusals")  # the last compares with a limit
    arithmetic = {f"coordinator/aggregation/{name}.py" for name in names}
    entered = {file for file, _ in watched.entered if file.startswith("coordinator/")}
    told = set(re.findall(r"`(coordinator/[\w/]+\.py):", section()))
    assert entered - told <= arithmetic
    assert len(entered - arithmetic) <= 15

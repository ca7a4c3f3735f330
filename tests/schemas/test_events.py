"""Facts about the events that people and programs are told."""

import json
import re
from datetime import UTC, datetime

import pytest

from docs import make_events
from fanfold.schemas.events.coordinator import RoundClosed, RunStarted, UpdateRefused, Waiting
from fanfold.schemas.events.event import Event, UnknownEvent
from fanfold.schemas.events.participant import OwnUpdateRefused
from fanfold.schemas.events.reading import kinds, read_event
from fanfold.schemas.events.shared import DiskFull
from fanfold.views.sentences import SENTENCES, line, sentence

NOON = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)


def test_the_page_of_events_is_made_from_the_classes() -> None:
    """`make events` makes it anew."""
    assert make_events.PAGE.read_text(encoding="utf-8") == make_events.page()


def test_every_sentence_is_of_an_event_and_names_its_fields() -> None:
    """Otherwise people would read a dash where the field should be."""
    for name, template in SENTENCES.items():
        fields = {each.rstrip("_") for kind in kinds()[name] for each in kind.__annotations__}
        assert set(re.findall(r"{(\w+)}", template)) <= fields, name


@pytest.mark.parametrize(
    "event",
    [
        Waiting("4 participants", present=1, time=NOON),
        Waiting("2 updates", present=3, round=1, updates=0, refused="stale (ann)", time=NOON),
        DiskFull("out", None, time=NOON),
        UpdateRefused("ann", "ann", 3, "stale", time=NOON),
        OwnUpdateRefused(3, "stale", time=NOON),
        RunStarted("f", run="r", epoch=1, version=0, rounds=2, task="digits", time=NOON),
        RoundClosed(1, 1, 2, 9, None, 0.5, 10, 11, 0.25, shares={"ann": 0.0}, time=NOON),
    ],
)
def test_what_is_printed_is_read_back(event: Event) -> None:
    """The same class, the same fields, and the time at which it was told."""
    read = read_event(json.dumps(event.document()))
    assert read == event
    assert read is not None
    assert read.time == NOON


def test_a_field_without_a_default_is_null_and_one_with_it_is_left_out() -> None:
    assert UpdateRefused(None, None, 3, "stale").document() == {
        "event": "update_refused",
        "participant": None,
        "login": None,
        "base_version": 3,
        "reason": "stale",
    }
    assert Waiting("4 participants", 1).document() == {
        "event": "waiting",
        "for": "4 participants",
        "present": 1,
    }


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (r'{"event": "moon_landed", "crew": 3, "note": "a\nb"}', r"moon landed: crew 3, note a\nb"),
        ('{"event": "round_closed", "loss": "none"}', "round closed: loss none"),
        (
            '{"event": "disk_full", "time": "2026-03-01T12:30:00.000Z", "where": [1]}',
            "2026-03-01T12:30:00.000Z disk full: where [1]",
        ),
    ],
)
def test_what_another_release_tells_is_passed_on_in_words(text: str, words: str) -> None:
    """And to programs as it came."""
    event = read_event(text)
    assert isinstance(event, UnknownEvent)
    assert line(event) == words
    assert event.document() == json.loads(text)


def test_a_field_that_a_later_release_adds_hides_no_event() -> None:
    event = read_event('{"event": "waiting", "for": "x", "present": 1, "mood": "fine"}')
    assert event == Waiting("x", present=1)
    assert sentence(Waiting("x", 1)) == "waiting for x; 1 participants are present"


@pytest.mark.parametrize(
    "text",
    ["", "hello", "7", "[]", "{}", '{"event": 7}', '{"event": "a", "x": NaN}', "[" * 100_000],
)
def test_what_a_library_prints_is_no_event(text: str) -> None:
    assert read_event(text) is None

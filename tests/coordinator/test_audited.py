"""Who comes and goes in a sealed run stands in the audit trail, with the time."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from fanfold.coordinator.border import audited
from fanfold.coordinator.settings import CoordinatorSettings
from fanfold.schemas.events.coordinator import (
    ParticipantJoined,
    ParticipantLeft,
    ParticipantRefused,
    ParticipantSilent,
)
from fanfold.schemas.events.event import Event
from fanfold.sealing.audit_trail import checked_lines

NINE = datetime(2026, 3, 1, 9, tzinfo=UTC)
NEWS: tuple[Event, ...] = (
    ParticipantJoined("anna"),
    ParticipantRefused("mallory", "m", reason="of another federation"),
    ParticipantSilent("anna", round=3),
    ParticipantLeft("anna", "SIGTERM"),
)


def test_each_who_joins_or_leaves_has_a_line_with_its_time(tmp_path: Path) -> None:
    """In the order in which it happened; people are told as before."""
    times = iter([NINE + timedelta(minutes=minute) for minute in range(len(NEWS))])
    said: list[Event] = []
    settings = CoordinatorSettings(identity=tmp_path, out=tmp_path / "out")
    say = audited(settings, lambda: next(times), said.append)
    for event in NEWS:
        say(event)
    assert tuple(said) == NEWS
    lines = [line.record for line in checked_lines(tmp_path / "audit.jsonl")]
    assert [(each["time"], each["event"], each["participant"]) for each in lines] == [
        ("2026-03-01T09:00:00.000Z", "joined", "anna"),
        ("2026-03-01T09:01:00.000Z", "refused", "mallory"),
        ("2026-03-01T09:02:00.000Z", "silent", "anna"),
        ("2026-03-01T09:03:00.000Z", "left", "anna"),
    ]
    assert {each["by"] for each in lines} == {"coordinator"}
    assert lines[-1]["reason"] == "SIGTERM"

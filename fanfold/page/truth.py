"""One line of truth: the run, its version, its open round and what it has spent, as facts."""

from dataclasses import dataclass

from fanfold.page.answers import Look
from fanfold.report.charts import number


@dataclass(frozen=True, slots=True)
class Fact:
    """A name and a value; the page counts the seconds since or until a time."""

    name: str
    value: str
    since: float | None = None
    until: float | None = None


def truth(look: Look) -> list[Fact]:
    """Return the facts of a run, those of the open round only where it goes on."""
    data, live = look.data, look.live
    settings = data.settings or (look.record.settings if look.record else {})
    facts = [
        Fact("run", data.run or "-"),
        Fact("task", str(settings.get("task", "-"))),
        Fact("mode", str(settings.get("mode", "-"))),
        Fact("version", number(look.rounds)),
    ]
    opened = live.round
    if look.is_alive and opened is not None:
        counted = sum(live.counted.values())
        facts += [
            Fact(f"round {opened.round}", "", since=live.opened_at),
            Fact("updates", f"{counted} of {opened.goal}"),
            Fact("deadline", "", until=live.opened_at + opened.deadline_seconds),
        ]
    last = data.rounds[-1] if data.rounds else {}
    if last.get("epsilon_zero_out") is not None:
        facts.append(Fact("epsilon", f"{last['epsilon_zero_out']:.3g} at {last['delta']:.0e}"))
    if look.record is not None:
        facts.append(Fact("submitted by", look.record.submitted_by))
    facts.append(Fact("participants", number(len(live.people) or len(data.participants))))
    return facts

"""What a person wants to know first, in words: does it run, how far, who holds it up, is it better.

Pure: the time is an argument, in seconds since 1970.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from statistics import median
from typing import Literal

from fanfold.page.lateness import Late, late_ones
from fanfold.page.live_run import LiveRun
from fanfold.registry.record import RunRecord
from fanfold.report.charts import number
from fanfold.report.page import duration
from fanfold.runs.run_data import RunData
from fanfold.schemas.events.coordinator import Stopping

Tone = Literal["good", "bad", "wait", "calm"]
MOST_NAMED = 3
TREND = 5
"""So many evaluations, at most, are held against as many before them."""
LEVEL = 0.01
"""A change that is a smaller part of the metric is none."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One of the four answers."""

    question: str
    short: str
    """In a few words, large."""
    more: str
    """One sentence."""
    tone: Tone


@dataclass(frozen=True, slots=True)
class Look:
    """A run as it is when somebody looks."""

    data: RunData
    live: LiveRun
    is_alive: bool
    """Whether a coordinator writes into the folder now."""
    now: float
    generation: int = 0
    """How often another run took the folder."""
    record: RunRecord | None = None
    """What the registry says of it, where it is of one."""

    @property
    def rounds(self) -> int:
        """Rounds that are closed."""
        last = self.data.rounds[-1]["round"] if self.data.rounds else 0
        return max(last, self.live.round.version if self.live.round else 0)

    @property
    def ended_at(self) -> float:
        """When the last round closed, where the history has times."""
        last = self.data.rounds[-1].get("time") if self.data.rounds else None
        return datetime.fromisoformat(last).timestamp() if last else 0.0

    @property
    def is_over(self) -> bool:
        """Whether the last round of the run is over."""
        return not self.is_alive and self.data.run != "" and self.data.is_over


def answers(look: Look) -> tuple[Answer, ...]:
    """Return the four answers."""
    return (_runs(look), _how_far(look), _holds_up(look), _better(look))


def state_of(look: Look) -> str:
    """Return how a run stands, in one word or two."""
    if look.record is not None and look.record.state != "open":
        return look.record.state
    if look.is_alive:
        return "waiting" if look.live.waiting_for or look.live.round is None else "running"
    if look.is_over:
        return "finished"
    if look.record is not None:
        return "waiting"  # the service starts its coordinator
    return "stopped" if isinstance(look.live.end, Stopping) else "not running"


def _runs(look: Look) -> Answer:
    question, live = "Does it run?", look.live
    last = f"version {look.rounds} is safe; started again with the same --out it goes on from there"
    match state_of(look):
        case "running":
            return Answer(question, "Yes", _open_round(look), "good")
        case "waiting":
            what = live.waiting_for or ("its next round" if look.is_alive else "its coordinator")
            return Answer(question, "It waits", f"for {what}", "wait")
        case "finished":
            why = f": {look.data.end}" if look.data.end else " after its last round"
            return Answer(question, "It is finished", f"it ended{why}", "calm")
        case "queued" | "paused" | "stopping" | "failed" | "stopped" if look.record is not None:
            return _registered(look.record)
        case "stopped":
            return Answer(question, "No, it was stopped", last, "wait")
        case _:
            how = "it ended without a word, as when it is killed; " if live.heard_at else ""
            return Answer(question, "No", f"no coordinator is at work here: {how}{last}", "bad")


def _registered(record: RunRecord) -> Answer:
    """Return whether a run goes on that waits in a registry, or is over there."""
    question = "Does it run?"
    match record.state:
        case "queued":
            more = f"its turn comes by priority, which is {record.priority}, then by age"
            return Answer(question, "It is queued", more, "wait")
        case "paused":
            return Answer(question, "It is paused", record.reason or "somebody paused it", "wait")
        case "failed":
            return Answer(question, "No, it failed", record.reason or "no reason is known", "bad")
        case _:
            short = "It is being stopped" if record.state == "stopping" else "No, it was stopped"
            return Answer(question, short, record.reason or "somebody stopped it", "wait")


def _open_round(look: Look) -> str:
    opened = look.live.round
    if opened is None:
        return "between two rounds"
    counted = sum(look.live.counted.values())
    return f"round {opened.round} has {counted} of {opened.goal} updates"


def _how_far(look: Look) -> Answer:
    question = "How far is it?"
    wanted = look.data.settings.get("rounds")
    if not wanted and look.record is not None:
        wanted = look.record.settings.get("rounds")
    if not wanted:
        return Answer(question, f"Round {look.rounds}", "its settings are not known yet", "calm")
    short = f"{number(look.rounds)} of {number(wanted)} rounds"
    if look.rounds >= wanted or look.is_over:
        took = look.data.elapsed
        more = f"in {duration(took[-1])}" if took else "no round is evaluated yet"
        return Answer(question, short, more, "calm")
    each = round_seconds(look.data)
    if each is None:
        return Answer(question, short, "no round has closed yet", "calm")
    if not look.is_alive:
        more = f"a round took {duration(each)}; nobody is at work on the next one"
        return Answer(question, short, more, "calm")
    left = duration(each * (wanted - look.rounds))
    more = f"a round takes {duration(each)}: about {left} to go"
    return Answer(question, short, more, "calm")


def round_seconds(data: RunData) -> float | None:
    """Return how long the last rounds took, each, in the middle; None before the first."""
    last = [each["seconds"] for each in data.rounds[-9:]]
    return median(last) if last else None


def _holds_up(look: Look) -> Answer:
    question = "Who holds it up?"
    if not look.is_alive:
        troubled = [each for name, each in look.live.people.items() if _is_gone(look.live, name)]
        more = _named([f"{each.name} ({each.trouble})" for each in troubled])
        return Answer(question, "Nobody", more or "nothing is under way", "calm")
    gone = [name for name in look.live.people if _is_gone(look.live, name)]
    said = [f"{name} ({look.live.people[name].trouble})" for name in sorted(gone)]
    owing = [look.live.people[name] for name in look.live.members if _owes(look, name)]
    slow = late_ones(look.live, owing, now=look.now)
    if len(slow) + len(gone) > MOST_NAMED:
        return Answer(question, *_many(look.live, slow, sorted(gone)), "bad")
    if slow:
        said = [_slow(each) for each in slow] + said
        short = _named([each.name for each in slow])
        return Answer(question, short, _named(said), "bad")
    if said:
        return Answer(question, _named(sorted(gone)), _named(said), "bad")
    if look.live.waiting_for:
        return Answer(question, "Who is not there yet", f"for {look.live.waiting_for}", "wait")
    more = f"{len(owing)} are at work, none for longer than usual" if owing else "all have answered"
    return Answer(question, "Nobody", more, "good")


def _many(live: LiveRun, slow: Sequence[Late], gone: Sequence[str]) -> tuple[str, str]:
    """Return how many hold a run up, and of whom to hear first."""
    names = {each.name for each in slow} | set(gone)
    said = [_slow(slow[0])] if slow else [f"{gone[0]} ({live.people[gone[0]].trouble})"]
    if len(slow) > 1:
        said.append(f"{len(slow) - 1} more are slow")
    if gone and slow:
        said.append(f"{len(gone)} are silent, or were refused")
    elif len(gone) > 1:
        said.append(f"and {len(gone) - 1} more")
    return f"{len(names)} of {len(live.people)} participants", "; ".join(said)


def _is_gone(live: LiveRun, name: str) -> bool:
    """Whether nothing comes of somebody who is expected to answer."""
    person = live.people[name]
    if person.trouble.startswith("refused") and person.lane.is_at_work:
        return name in live.refused  # else it works on a newer version by now
    return bool(person.trouble) and not person.trouble.startswith("left")


def _owes(look: Look, name: str) -> bool:
    person = look.live.people.get(name)
    return person is not None and person.lane.is_at_work


def _slow(late: Late) -> str:
    return (
        f"{late.name} works on its version for {duration(late.seconds)}, "
        f"{late.times:.1f} times as long as others take"
    )


def _better(look: Look) -> Answer:
    question = "Is it getting better?"
    metrics = look.data.metrics
    name = next(iter(["accuracy"] if "accuracy" in metrics else metrics), None)
    if name is None:
        return Answer(question, "Not known", "no version was evaluated yet", "calm")
    values = [value for _, value in metrics[name]]
    rises = "loss" not in name
    best = max(values) if rises else min(values)
    at = look.data.rounds[metrics[name][values.index(best)][0]]["version"]
    told = f"{name} {values[-1]:.4f}, the best is {best:.4f} of version {at}"
    if len(values) == 1:
        short = f"{name} {values[-1]:.4f}"
        return Answer(question, short, "so far one version is measured", "calm")
    few = min(TREND, len(values) // 2)  # in the middle, for single versions go up and down
    before, now = median(values[-2 * few : -few]), median(values[-few:])
    change = (now - before) if rises else (before - now)
    since = "since the one before" if few == 1 else f"in the last {few} beside {few} before"
    sentence = f"{told}; {now - before:+.4f} {since}"
    if abs(change) < LEVEL * max(abs(before), abs(now)):
        return Answer(question, "It stays level", sentence, "calm")
    if change > 0:
        return Answer(question, "Yes", sentence, "good")
    return Answer(question, "No, worse", sentence, "bad")


def _named(texts: Sequence[str]) -> str:
    more = f" and {len(texts) - MOST_NAMED} more" if len(texts) > MOST_NAMED else ""
    return "; ".join(texts[:MOST_NAMED]) + more

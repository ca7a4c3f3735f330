"""The report of a chaos run, as a page."""

from collections import Counter
from collections.abc import Mapping, Sequence

from chaos_driver import ChaosOutcome
from chaos_proof import Proved
from disturbances import Kind

_WHERE = {
    "coordinator": "the coordinator was",
    "participant": "the participant was",
    "broker": "the broker went while the coordinator was",
}


def report(
    outcome: ChaosOutcome, proved: Sequence[Proved], *, kinds: Sequence[Kind], command: str
) -> str:
    """Return the page."""
    rounds = sum(each.rounds for each in proved)
    return "\n".join(
        [
            "# Chaos",
            "",
            "What one run of the command below left behind. It kills coordinator, participants and",
            "broker with SIGKILL, stops them, closes their connections, deletes what the broker",
            "holds for them and damages their files, at moments drawn from a seed. Then it replays",
            "the runs in memory. Each start of a coordinator has a mode that is drawn: buffered,",
            "asynchronous or synchronous.",
            "",
            f"    {command}",
            "",
            f"{outcome.num_kills} kills and {outcome.disturbances.total()} other disturbances over",
            f"{rounds} rounds in {outcome.seconds:.0f} s; coordinators were started",
            f"{outcome.starts} times.",
            "",
            *_kills(outcome.phases),
            "",
            *_disturbances(outcome.disturbances, kinds),
            "",
            "What was proved of all three federations:",
            "",
            "- Rounds: every one closed, in order, each once; none hung.",
            "- Each participant's update of each version counts at most once, and each that was",
            "  acknowledged exactly once: the history's names prove it.",
            "- Nobody ended unasked, and no process's log holds a traceback.",
            *(line for each in proved for line in _federation(each)),
            "",
        ]
    )


def _kills(phases: Mapping[str, Counter[str]]) -> list[str]:
    lines = ["| killed | kills | in which phase |", "| --- | --- | --- |"]
    for victim, counter in phases.items():
        where = ", ".join(f"{phase} {count}" for phase, count in counter.most_common())
        lines.append(f"| {victim} | {counter.total()} | {_WHERE[victim]} {where} |")
    return lines


def _disturbances(counts: Counter[str], kinds: Sequence[Kind]) -> list[str]:
    return [
        "| disturbed | times | after it |",
        "| --- | --- | --- |",
        *(
            f"| {kind.name} | {counts[kind.name]} | {kind.sentence} |"
            for kind in kinds
            if counts[kind.name]
        ),
    ]


def _federation(proved: Proved) -> list[str]:
    lines = [
        f"- `{proved.federation}`: {proved.rounds} rounds, {proved.updates} updates counted.",
        f"  {proved.lost} lost with checkpoints that were damaged on purpose, each named in the",
        f"  history; {proved.unseen} that the broker had confirmed came too late, or lay in queues",
        "  that were deleted, purged or wiped.",
    ]
    if proved.connections:
        lines += [
            "  Top-k and private tensors: what was sent and what is owed is what was trained, to",
            f"  the last bit, in {proved.connections} trainings, each of which began where the one",
            f"  before it ended; {proved.given_back} updates that came too late are owed again.",
            "  `parameters_sha256` of the run, and of what was sent, folded again in memory:",
        ]
    else:
        lines.append("  `parameters_sha256` of the run, and of the undisturbed replay in memory:")
    return [*lines, f"  `{proved.parameters_sha256}`."]

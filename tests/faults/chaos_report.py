"""What a run of chaos proved, as a page."""

from collections import Counter
from collections.abc import Mapping

from warren.replay import Replayed

_WHERE = {
    "coordinator": "the coordinator was",
    "participant": "the participant was",
    "broker": "the broker went while the coordinator was",
}


def report(
    *,
    phases: Mapping[str, Counter[str]],
    seconds: float,
    starts: int,
    replayed: Replayed,
    command: str,
) -> str:
    """Return the page."""
    total = sum(counter.total() for counter in phases.values())
    lines = [
        "# Chaos",
        "",
        "What one run of the command below left behind. It kills coordinator, participants and",
        "broker with SIGKILL at moments drawn from a seed, starts them again, and then replays the",
        "run in memory from its history.",
        "",
        f"    {command}",
        "",
        (
            f"{total} kills over {replayed.rounds} rounds in {seconds:.0f} s; "
            f"the coordinator was started {starts} times."
        ),
        "",
        "| killed | kills | in which phase |",
        "| --- | --- | --- |",
    ]
    for victim, counter in phases.items():
        where = ", ".join(f"{phase} {count}" for phase, count in counter.most_common())
        lines.append(f"| {victim} | {counter.total()} | {_WHERE[victim]} {where} |")
    lines += [
        "",
        f"- Updates counted: {replayed.updates}, each participant's update of each version at most",
        "  once, and each that was acknowledged exactly once: the history's names prove it.",
        "- Rounds: every one closed, in order, each once; none hung.",
        "- `parameters_sha256` of the run, and of the undisturbed replay in memory:",
        f"  `{replayed.parameters_sha256}`.",
        "",
    ]
    return "\n".join(lines)

"""Shows 671 rounds of three hospitals as the commands show them, and stays until its input ends."""

import sys
from datetime import UTC, datetime

from fanfold.cli.showing import view_of
from fanfold.schemas.events.coordinator import ParticipantsLeftOut, RoundClosed, RunStarted, Waiting

ROUNDS = 671
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
TOO_LARGE = "update norm above the limit: 3, 2 allowed; the coordinator's --max-update-norm sets it"


def main() -> None:
    """Tell it all at one moment: the clock is no part of what is looked at."""
    with view_of(json=False, is_live=True) as view:
        started = RunStarted("fanfold", run="1f", epoch=1, version=0, rounds=700, task="wards:Ward")
        view.say(started.at(NOON))
        for number in range(1, ROUNDS + 1):
            auc = 1 - 0.5 / number
            view.say(
                RoundClosed(
                    round=number,
                    version=number,
                    updates=2 if number == ROUNDS else 3,
                    examples=363,
                    loss=0.7 / number**0.5,
                    accuracy=1 - 0.4 / number**0.5,
                    bytes_down=18_500,
                    bytes_up=18_500,
                    seconds=0.25,
                    metrics={"auc": auc},
                    left_out={"mitte": TOO_LARGE} if number == ROUNDS else None,
                ).at(NOON)
            )
        left_out = ParticipantsLeftOut(ROUNDS, 1, present=3, refused=f"{TOO_LARGE} (mitte)")
        view.say(left_out.at(NOON))
        waiting = Waiting("3 updates", 3, round=ROUNDS + 1, updates=2, refused=left_out.refused)
        view.say(waiting.at(NOON))
        sys.stdin.read()


if __name__ == "__main__":
    main()

"""The run that waited longest trains next."""

import threading

import pytest

from fanfold.learning import TrainingAbandoned
from fanfold.participant.open_runs.turns import Turn, Turns

PATIENCE_SECONDS = 30


class Waiting:
    """A thread that waits for a turn, takes it, and writes down that it had it."""

    def __init__(self, turns: Turns, turn: Turn, name: str, had: list[str]) -> None:
        self.error: BaseException | None = None
        self._name, self._turn, self._had = name, turn, had
        before = len(turns)
        self._thread = threading.Thread(target=self._take, daemon=True)
        self._thread.start()
        turns.wait_for(lambda: len(turns) > before, PATIENCE_SECONDS)

    def _take(self) -> None:
        try:
            with self._turn:
                self._had.append(self._name)
        except TrainingAbandoned as error:
            self.error = error

    def join(self) -> None:
        self._thread.join(PATIENCE_SECONDS)
        assert not self._thread.is_alive()


def test_turns_are_taken_in_the_order_in_which_they_were_waited_for() -> None:
    turns = Turns()
    had: list[str] = []
    first = turns.turn()
    with first:
        waiting = [Waiting(turns, turns.turn(), name, had) for name in "abc"]
        assert had == []
    for each in waiting:
        each.join()
    assert had == ["a", "b", "c"]


def test_who_had_a_turn_waits_behind_those_who_waited_meanwhile() -> None:
    """A fast run cannot keep a slow one from its turn."""
    turns = Turns()
    had: list[str] = []
    fast = turns.turn()
    with fast:
        slow = Waiting(turns, turns.turn(), "slow", had)
    with fast:
        assert had == ["slow"]
    slow.join()


def test_a_withdrawn_turn_is_waited_for_no_longer_and_holds_up_nobody() -> None:
    turns = Turns()
    had: list[str] = []
    with turns.turn():
        withdrawn = turns.turn()
        gone = Waiting(turns, withdrawn, "gone", had)
        behind = Waiting(turns, turns.turn(), "behind", had)
        withdrawn.withdraw()
        gone.join()
    behind.join()
    assert isinstance(gone.error, TrainingAbandoned)
    assert had == ["behind"]
    with pytest.raises(TrainingAbandoned, match="0 of 0"), withdrawn:
        pass


def test_a_turn_that_is_withdrawn_while_it_is_held_is_held_to_its_end() -> None:
    turns = Turns()
    had: list[str] = []
    holding = turns.turn()
    with holding:
        behind = Waiting(turns, turns.turn(), "behind", had)
        holding.withdraw()
        assert had == []
    behind.join()
    assert had == ["behind"]

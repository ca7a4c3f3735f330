"""Facts about several accelerators in one machine; they are an argument, so none is needed."""

from fanfold.learning import place, sharers
from fanfold.learning.device import fraction_for_tensors
from fanfold.local.commands import coordinator_settings, participant_command
from fanfold.local.settings import LocalSettings

TWO = ("cuda:0", "cuda:1")


def test_processes_are_dealt_out_in_turn() -> None:
    """Where there is a choice; each knows with how many it shares."""
    assert [place(index, TWO) for index in range(3)] == ["cuda:0", "cuda:1", "cuda:0"]
    assert place(1, ("cuda:0",)) is None
    assert [sharers(index, 5, TWO) for index in range(5)] == [3, 2, 3, 2, 3]
    assert sharers(3, 5, ()) == 5


def test_a_local_federation_uses_every_accelerator() -> None:
    """The coordinator takes the next one, and participants beside it leave it a share."""
    settings = LocalSettings(participants=4)
    commands = [participant_command(settings, index, TWO) for index in range(4)]
    assert ["--device=cuda:0" in each for each in commands] == [True, False, True, False]
    assert ["--device=cuda:1" in each for each in commands] == [False, True, False, True]
    assert "--device-memory-fraction=0.333333" in commands[0]
    assert "--device-memory-fraction=0.5" in commands[1]
    assert coordinator_settings(settings, TWO).device == "cuda:0"


def test_a_device_that_somebody_names_is_everybodys() -> None:
    """However many there are."""
    settings = LocalSettings(participants=3, device="cuda:1")
    flags = participant_command(settings, 0, TWO)
    assert "--device=cuda:1" in flags
    assert "--device-memory-fraction=0.25" in flags
    assert coordinator_settings(settings, TWO).device == "cuda:1"


def test_a_share_has_room_for_the_context() -> None:
    """And on a small device for tensors all the same."""
    assert fraction_for_tensors(0.5, 16 << 30) == 0.5 - 1 / 32
    assert fraction_for_tensors(0.125, 2 << 30) == 0.0625

"""Facts about for whom a region says that it speaks."""

from fanfold.region.represented import Represented
from fanfold.schemas.messages import Progress


def progress(name: str, participants: int | None) -> Progress:
    return Progress(
        participant=name,
        instance="i",
        run="r",
        version=1,
        phase="training",
        participants=participants,
    )


def test_regions_below_count_as_those_for_whom_they_speak() -> None:
    """For as long as they are there; before a run nothing is known."""
    represented = Represented()
    assert represented.number() is None
    members = {"ada", "deep"}
    represented.attach(present=lambda: len(members), members=lambda: members, is_ready=lambda: True)
    for told in (progress("ada", None), progress("deep", 7)):
        represented.progressed(told)
    assert represented.number() == 1 + 7
    members.remove("deep")
    assert represented.number() == 1

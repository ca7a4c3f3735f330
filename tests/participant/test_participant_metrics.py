"""A participant's numbers."""

from prometheus_client import generate_latest

from fanfold.participant.metrics import ParticipantMetrics
from fanfold.schemas.events.participant import OwnUpdateRefused, UpdateSent, VersionReceived


def test_a_version_and_its_update_leave_their_numbers() -> None:
    """Bytes, seconds by phase, outcomes and the loss, from the events that people are told."""
    metrics = ParticipantMetrics(federation="clinics", version="1.2.3")
    metrics.attach(device="cpu", num_examples=360, is_ready=lambda: True)

    metrics.hear(VersionReceived(run="r", version=7, bytes=100, seconds=0.25))
    with metrics.phase("train"):
        pass
    metrics.hear(UpdateSent(run="r", version=7, bytes=90, loss=0.5))
    metrics.hear(UpdateSent(run="r", version=7, bytes=90))  # the kept one again
    metrics.hear(OwnUpdateRefused(version=7, reason="too stale"))

    text = generate_latest(metrics.registry).decode()
    for line in (
        'fanfold_participant_build_info{device="cpu",federation="clinics",version="1.2.3"} 1.0',
        "fanfold_participant_ready 1.0",
        "fanfold_participant_examples 360.0",
        "fanfold_participant_version 7.0",
        'fanfold_participant_bytes_total{direction="down"} 100.0',
        'fanfold_participant_bytes_total{direction="up"} 180.0',
        'fanfold_participant_phase_seconds_sum{phase="download"} 0.25',
        'fanfold_participant_phase_seconds_count{phase="train"} 1.0',
        'fanfold_participant_updates_total{outcome="sent"} 2.0',
        'fanfold_participant_updates_total{outcome="refused"} 1.0',
        "fanfold_participant_loss 0.5",
    ):
        assert line in text.splitlines()

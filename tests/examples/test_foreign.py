"""A participant in JavaScript, written from the protocol's page, and real coordinators of ours."""

import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import pytest
import torch
from foreign_federation import FOLDER, Federation, kept, result
from nodes import BrokerNode
from programs import program
from torch import Tensor

from fanfold.schemas.encodings import Encoding
from fanfold.schemas.tensor_codec import decode_tensors

LONG, VERY_LONG = {"epochs": 20}, {"epochs": 300}
"""Trainings of a second, in which it can be killed, and of ten times what rabbitmqctl takes."""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture(scope="module", autouse=True)
def node() -> None:
    """Node.js, and the three packages that `make foreign` installs."""
    program("node", package="nodejs")
    if not (FOLDER / "node_modules").is_dir():
        if os.environ.get("CI"):
            pytest.fail("these tests may not be skipped in CI: `make foreign` runs them")
        pytest.skip("examples/foreign lacks its packages; `make foreign` installs them")


@pytest.fixture
def live(
    broker_url: str, federation: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Federation]:
    """One federation with nobody in it yet."""
    monkeypatch.syspath_prepend(FOLDER)
    with ThreadPoolExecutor(max_workers=4) as threads:
        live = Federation(broker_url, federation, tmp_path, threads)
        try:
            yield live
        finally:
            live.close()


@cache
def exact() -> dict[str, Tensor]:
    """Return the deltas of the first training, in float64, as softmax.js itself tells them."""
    script = """
        import { load, train } from './softmax.js';
        const tensors = { '0.running_mean': new Float64Array(64), '1.weight': new Float32Array(640),
            '0.running_var': new Float64Array(64).fill(1), '1.bias': new Float32Array(10),
            '0.num_batches_tracked': new BigInt64Array(1) };
        const plan = { optimizer: 'sgd', epochs: 1, batch_size: 32, lr: 0.1, momentum: 0.9,
            proximal_mu: 0, seed: 0 };
        const about = { version: 0, id: 'js', onStep() {} };
        await train(tensors, load('../../learning/digits', 0, 1), plan, about);
        for (const name of ['1.weight', '1.bias']) console.log(JSON.stringify([...tensors[name]]));
    """
    command = ["node", "--input-type=module", "--eval", script]
    done = subprocess.run(command, cwd=FOLDER, capture_output=True, text=True, check=True)
    weight, bias = (torch.tensor(json.loads(line)) for line in done.stdout.splitlines())
    return {"1.weight": weight.reshape(10, 64), "1.bias": bias}


def test_it_is_short() -> None:
    """Fewer than 400 lines of code, blank lines and comments aside."""
    lines = [line.strip() for path in FOLDER.glob("*.js") for line in path.read_text().splitlines()]
    assert 0 < sum(not line.startswith(("//", "/**")) for line in lines if line) < 400


@pytest.mark.parametrize("down", ["float32", "difference:int8"])
def test_it_trains_in_synchronous_rounds_beside_a_participant_of_ours(
    live: Federation, down: str
) -> None:
    """Both count in every round; the statistics of the normalisation arrive as values.

    A version that comes as a difference it asks for whole.
    """
    live.foreign(num=2)
    live.participant(partition_index=1, num_partitions=2)
    outcome = result(live.coordinator(rounds=4, min_participants=2, encoding_down=down))

    assert [{update["participant"] for update in each["updates"]} for each in live.rounds()] == [
        {"js", "ours"}
    ] * 4
    assert [each["refused"] for each in live.rounds()] == [{}] * 4
    assert outcome.accuracy > 0.9
    assert live.model()["0.num_batches_tracked"] == 4 * 23  # batches of 32 in a half of 1,437
    assert 0.1 < live.model()["0.running_mean"].mean() < 0.5  # pixels in 0 .. 1


def test_it_trains_in_buffered_rounds(live: Federation) -> None:
    """Three of them, two updates a round; none is refused for its kind, its age or its name."""
    for index in range(3):
        live.foreign(name=f"js{index}", index=index, num=3)
    outcome = result(live.coordinator(rounds=6, mode="buffered", goal=2, min_participants=3))

    assert [len(each["updates"]) for each in live.rounds()] == [2] * 6
    assert [each["refused"] for each in live.rounds()] == [{}] * 6
    assert outcome.accuracy > 0.8


def test_versions_and_updates_in_three_chunks_are_put_together(live: Federation) -> None:
    foreign = live.foreign("--chunk-bytes", "1280")
    result(live.coordinator(rounds=3, chunk_bytes=1280))

    assert [len(each["updates"]) for each in live.rounds()] == [1] * 3
    assert foreign.wait_for("training", version=2)["chunks"] == 3
    assert 2 * 1280 < foreign.wait_for("update_sent", version=2)["bytes"] <= 3 * 1280


def test_killed_in_training_it_trains_that_version_again_and_counts_once(live: Federation) -> None:
    coordinator = live.coordinator(rounds=3, chunk_bytes=1280, **LONG)
    foreign = live.foreign("--chunk-bytes", "1280")
    foreign.wait_for("training", version=1)
    foreign.end(signal.SIGKILL)
    assert foreign.versions("trained") == [0]

    again = live.foreign("--chunk-bytes", "1280")
    assert result(coordinator).is_finished
    again.wait_for("RunFinished")
    assert again.versions("trained") == [1, 2]
    assert [len(each["updates"]) for each in live.rounds()] == [1] * 3
    assert [each["refused"] for each in live.rounds()] == [{}] * 3


def test_a_connection_lost_in_training_makes_it_train_nothing_twice(
    live: Federation, broker_node: BrokerNode
) -> None:
    """All chunks come again, marked redelivered, and are recognised."""
    foreign = live.foreign("--chunk-bytes", "1280")
    coordinator = live.coordinator(rounds=1, chunk_bytes=1280, **VERY_LONG)
    foreign.wait_for("training", version=0)
    broker_node.ctl("close_all_connections", "--global", "an operator says so")
    foreign.wait_for("recognised", version=0, redelivered=True)

    assert result(coordinator).is_finished
    foreign.wait_for("RunFinished")
    assert foreign.versions("training") == foreign.versions("trained") == [0]
    assert [len(each["updates"]) for each in live.rounds()] == [1]


@pytest.mark.parametrize("is_killed", [False, True], ids=["running", "killed"])
def test_a_version_that_comes_again_is_answered_with_the_kept_update(
    live: Federation, *, is_killed: bool
) -> None:
    """A coordinator that is started again publishes its version again."""
    options = {"rounds": 1, "quorum": 2, "deadline_seconds": 3600.0}
    before = live.coordinator(**options)
    foreign = live.foreign(num=2)
    foreign.wait_for("update_sent", version=0)
    kept_bytes = (foreign.state / "update.bin").read_bytes()
    if is_killed:
        foreign.end(signal.SIGKILL)
    before.stop("it is started again")
    result(before)
    coordinator = live.coordinator(**options)
    again = live.foreign(num=2) if is_killed else foreign
    again.wait_for("sent_again", version=0)
    again.wait_for("update_sent", version=0)
    assert (foreign.state / "update.bin").read_bytes() == kept_bytes

    live.foreign(name="other", index=1, num=2)
    assert result(coordinator).is_finished
    (only,) = live.rounds()
    assert [update["participant"] for update in only["updates"]] == ["js", "other"]
    assert only["refused"] == {"already counted": 1}
    assert sum(each.versions("trained") == [0] for each in {foreign, again}) == 1


@pytest.mark.parametrize(
    ("up", "down"),
    [
        ("float32", "float32"),
        ("float16", "float16"),
        ("bfloat16", "bfloat16"),
        ("int8", "int8"),
        ("topk:0.1", "float32"),
        ("topk:0.1+float16", "float16"),
        ("topk:0.1+bfloat16", "bfloat16"),
        ("topk:0.1+int8", "int8"),
    ],
)
def test_its_bytes_are_those_of_the_encoding_it_is_asked_for(
    live: Federation, up: str, down: str
) -> None:
    """Read by our decoder they are the deltas that it trained, as far as the encoding can tell."""
    foreign = live.foreign()
    result(live.coordinator(rounds=1, encoding=up, encoding_down=down))
    foreign.wait_for("RunFinished")

    update = kept(foreign)
    assert {entry.encoding for entry in update.entries if entry.kind == "delta"} == {
        "raw" if up == "float32" else up
    }
    deltas = decode_tensors(update)
    for name, true in exact().items():
        assert_is_near(deltas[name], true, Encoding.from_setting(up))
        # Version 0 is all zeros here, in every encoding: what was added is what there is.
        assert torch.allclose(live.model()[name], deltas[name], rtol=1e-6)


def assert_is_near(sent: Tensor, true: Tensor, encoding: Encoding) -> None:
    """Hold values against the promise of their encoding; a block of int8 is all there is here."""
    errors: dict[str, Callable[[Tensor], Tensor]] = {
        "int8": lambda values: values.abs().max() / 254 + 1e-9,
        "float16": lambda values: values.abs() * 2**-11 + 2**-25,
        "bfloat16": lambda values: values.abs() * 2**-8,
    }
    if encoding.fraction is not None:
        num_kept = encoding.num_kept(true.numel())
        assert sent.count_nonzero() == num_kept
        indices = true.abs().flatten().topk(num_kept).indices
        sent, true = sent.flatten()[indices], true.flatten()[indices]
    error = errors.get(encoding.values, lambda values: values.abs() * 1e-6)(true)
    assert bool(((sent - true).abs() <= error).all())


def test_an_update_of_some_tensors_changes_these_alone(live: Federation) -> None:
    foreign = live.foreign("--frozen", "1.weight,0.running_var")
    result(live.coordinator(rounds=1))
    foreign.wait_for("RunFinished")

    sent = {"0.running_mean": "value", "0.num_batches_tracked": "value", "1.bias": "delta"}
    assert {entry.name: entry.kind for entry in kept(foreign).entries} == sent
    model = live.model()
    assert not model["1.weight"].any()
    assert bool((model["0.running_var"] == 1).all())
    assert model["1.bias"].all()


def test_what_it_cannot_train_it_leaves_with_a_reason(live: Federation) -> None:
    """A plan with an optimizer that it does not know is no plan for another one."""
    coordinator = live.coordinator(rounds=1, optimizer="adam")
    foreign = live.foreign()
    (left,) = coordinator.wait_for("participant_left")
    assert left["reason"] == "this participant knows no optimizer adam"
    assert foreign.end() == 1


def test_told_to_stop_it_says_goodbye(live: Federation) -> None:
    coordinator = live.coordinator(rounds=1, min_participants=2)
    foreign = live.foreign()
    foreign.wait_for("reading")
    coordinator.wait_for("participant_joined")
    assert foreign.end(signal.SIGTERM) == 0
    coordinator.wait_for("participant_left")

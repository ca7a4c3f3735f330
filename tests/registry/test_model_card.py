"""Facts about the card of a model: it says where the model comes from, and who gave to it."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from fanfold.registry.details import details_of
from fanfold.registry.model_card import in_markdown, model_card
from fanfold.registry.models import model_of
from fanfold.registry.record import Parent
from fanfold.registry.registry import Registry
from fanfold.schemas.errors import InvalidInputError
from tests.registry.test_run_registry import record
from tests.report.report_history import a_round, at, closed, update, write

SHA = "ab" * 32
SENT = {"bytes_down": 1, "bytes_up": 1}


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    """A run of two rounds from another's best version, with its models."""
    registry = Registry(tmp_path)
    run = record(
        state="finished",
        parent=Parent(run="zeroth", version=7),
        declined={"charite": "the task is not on | my list"},
        software={"fanfold": "1.0"},
    )
    registry.write(run)
    folder = registry.folder_of("first")
    write(
        folder,
        {"event": "started", "time": at(0), "run": "r1", "settings": {}},
        a_round(1, 10, update("aarhus", 0, 0, 400, 0.5)),
        closed(1, 10, 0.25, **SENT),
        a_round(2, 30, update("aarhus", 1, 0, 400, 0.6), update("bergen", 0, 1, 100, 0.4)),
        closed(2, 30, 0.5, **SENT | {"updates": 2}),
    )
    model = {"w": torch.zeros(2)}
    save_file(model, folder / "model.safetensors", {"version": "2", "parameters_sha256": SHA})
    save_file(model, folder / "best.safetensors", {"version": "1"})
    return registry


def card_of(registry: Registry, wanted: Any) -> dict[str, Any]:
    run = registry.read("first")
    model = model_of(run.run, registry.folder_of(run.run), wanted)
    return model_card(details_of(registry, run), model)


def test_a_card_is_of_its_version_and_not_of_later_ones(registry: Registry) -> None:
    last, best = card_of(registry, "last"), card_of(registry, "best")
    assert (last["version"], last["rounds"], last["updates"]) == (2, 2, 3)
    assert (best["version"], best["rounds"], best["updates"]) == (1, 1, 1)
    assert (last["metrics"]["loss"], best["metrics"]["loss"]) == (0.5, 0.25)
    assert (last["parameters_sha256"], best["parameters_sha256"]) == (SHA, None)
    assert best == card_of(registry, 1)


def test_a_card_names_ancestors_and_participants(registry: Registry) -> None:
    card = card_of(registry, "last")
    assert [(each["run"], each["version"]) for each in card["begins_from"]] == [("zeroth", 7)]
    gave = {
        each["participant"]: (each["updates"], each["examples"]) for each in card["participants"]
    }
    assert gave == {"aarhus": (2, 400), "bergen": (1, 100)}


def test_the_page_of_a_card_has_all_of_it_in_tables_that_hold(registry: Registry) -> None:
    page = in_markdown(card_of(registry, "last"))
    for text in (
        "# Model card: first, version 2",
        f"`{SHA}`",
        "| Begins from | zeroth@7 |",
        "| bergen | 1 | 100 | 1.00 |",
        "| loss | 0.5 |",
        "| rounds | 3 |",
        "the task is not on \\| my list",
    ):
        assert text in page


def test_a_version_that_was_not_kept_is_refused_with_those_that_are(registry: Registry) -> None:
    with pytest.raises(
        InvalidInputError,
        match=r"keeps no model of version 5: it has last \(version 2\), best \(version 1\)",
    ):
        card_of(registry, 5)
    (registry.folder_of("first") / "model.safetensors").unlink()
    with pytest.raises(InvalidInputError, match=r"has no model 'last': best \(version 1\) so far"):
        card_of(registry, "last")


def test_a_kept_version_is_found_and_more_are_named_in_short(registry: Registry) -> None:
    folder = registry.folder_of("first")
    (folder / "versions").mkdir()
    for version in range(3, 13):
        metadata = {"version": str(version), "parameters_sha256": f"{version:064x}"}
        save_file({"w": torch.zeros(2)}, folder / "versions" / f"{version}.safetensors", metadata)
    model = model_of("first", folder, 7)
    assert (model.version, model.parameters_sha256) == (7, f"{7:064x}")
    listed = details_of(registry, registry.read("first"))["kept_versions"]
    assert [each["version"] for each in listed] == list(range(12, 2, -1))
    with pytest.raises(
        InvalidInputError,
        match=r"best \(version 1\), of those before 12, 11, 10, 9, 8, 7, 6, 5 and 2 more; a run "
        r"that is submitted with --keep-versions keeps more",
    ):
        model_of("first", folder, 99)

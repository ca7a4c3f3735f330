"""Facts about a run that is exported to MLflow, read back with MLflow's own client."""

import subprocess
import sys
from pathlib import Path

import pytest
from mlflow import MlflowClient
from safetensors.torch import load_file

from fanfold.registry.mlflow_export import export_to_mlflow
from fanfold.registry.registry import Registry
from fanfold.schemas.errors import InvalidInputError
from tests.registry.test_model_card import SHA, registry

__all__ = ["registry"]


def client_of(folder: Path) -> MlflowClient:
    return MlflowClient(tracking_uri=f"sqlite:///{folder / 'mlflow.db'}")


def test_a_run_is_there_with_settings_metrics_models_and_lineage(
    registry: Registry, tmp_path: Path
) -> None:
    """Exported twice it is there once; what MLflow leads to is what lies in the registry."""
    folder, where = registry.folder_of("first"), tmp_path / "mlflow"
    export_to_mlflow(folder, str(where))
    told = export_to_mlflow(folder, str(where))

    client = client_of(where)
    experiment = client.get_experiment_by_name("fanfold")
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id])
    assert (run.info.run_id, run.info.run_name) == (told.mlflow_run, "first")
    assert run.info.status == "FINISHED"
    points = client.get_metric_history(run.info.run_id, "round/loss")
    assert [(each.step, each.value) for each in points] == [(1, 0.25), (2, 0.5)]
    tags = run.data.tags
    assert tags["fanfold.begins_from"] == tags["fanfold.lineage"] == "zeroth@7"
    assert (tags["fanfold.run"], tags["fanfold.task"]) == ("r1", "digits")
    assert (tags["fanfold.model.version"], tags["fanfold.model.parameters_sha256"]) == ("2", SHA)
    names = {each.path for each in client.list_artifacts(run.info.run_id)}
    kinds = ("safetensors", "json", "md")
    assert names == {f"{model}.{kind}" for model in ("model", "best") for kind in kinds}
    got = client.download_artifacts(run.info.run_id, "model.safetensors", str(tmp_path))
    assert load_file(got).keys() == {"w"}
    card = client.download_artifacts(run.info.run_id, "model.md", str(tmp_path))
    assert "# Model card: first, version 2" in Path(card).read_text()


@pytest.mark.slow
def test_the_command_exports_a_run_of_a_coordinator_alone(
    registry: Registry, tmp_path: Path
) -> None:
    """Without a registry there are no cards; a table is not written beside."""
    folder = registry.folder_of("first")
    (folder / "run.json").unlink()
    command = [sys.executable, "-m", "fanfold", "export", str(folder), f"--mlflow={tmp_path / 'm'}"]
    ended = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "2 rounds and 2 models are in" in ended.stdout
    assert not (folder / "rounds.csv").exists()
    (run,) = client_of(tmp_path / "m").search_runs(["1"])
    assert run.info.run_name == "r1"

    ended = subprocess.run([*command, "--format=csv"], capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert "--mlflow writes no table; leave --format out" in ended.stderr


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"there is no run in .*history\.jsonl"):
        export_to_mlflow(tmp_path, str(tmp_path / "mlflow"))

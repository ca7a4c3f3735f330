"""The notebook runs from top to bottom in a kernel of its own."""

import os
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parents[2]
NOTEBOOK = ROOT / "examples" / "notebook" / "circle.ipynb"


def code_of(notebook: Any) -> list[str]:
    """The lines of code that a reader would write: neither blank ones nor comments."""
    cells = (cell.source for cell in notebook.cells if cell.cell_type == "code")
    lines = (line.strip() for source in cells for line in source.splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def test_the_notebook_has_at_most_15_lines_of_the_readers_own() -> None:
    assert 10 < len(code_of(nbformat.read(NOTEBOOK, as_version=4))) <= 15


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the kernel's own packages
@pytest.mark.slow
def test_the_notebook_defines_simulates_plots_loads_and_predicts(tmp_path: Path) -> None:
    """Of 20 participants the held-out accuracy is high, and a point inside is told from one out."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    client = NotebookClient(notebook, timeout=100, resources={"metadata": {"path": str(tmp_path)}})
    client.execute(env=environment)
    *_, trained, predicted = (cell for cell in notebook.cells if cell.cell_type == "code")

    shown = [output.data for output in trained.outputs if "data" in output]
    assert any("<progress" in data.get("text/html", "") for data in shown)
    assert any("image/png" in data for data in shown)
    assert "tensor([1, 0])" in predicted.outputs[-1].data["text/plain"]
    history = tmp_path / "runs" / "circle-1" / "sync" / "history.jsonl"
    assert history.read_text().count('"round_closed"') == 15

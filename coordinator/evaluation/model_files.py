"""The files of a version: its model, and the adapter in it as the peft library reads it."""

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from fanfold.coordinator.aggregation.model_form import ModelForm
from fanfold.storage import safetensors_file
from fanfold.storage.disk import replacing

ADAPTER, ADAPTER_CONFIG = "adapter_model.safetensors", "adapter_config.json"


def adapter_folder(model: Path) -> Path:
    """Return the folder of the adapter that belongs to a model: `best-adapter` to `best.*`."""
    return model.with_name(f"{model.stem}-adapter")


def write_model(
    path: Path, form: ModelForm, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]
) -> None:
    """Write the tensors of a run to `path`, and what is tuned of them to the adapter's folder.

    Each file is replaced as a whole.

    Raises:
        OSError: if the disk refuses; it can be tried again.
    """
    if form.adapter is not None:
        folder = adapter_folder(path)
        folder.mkdir(exist_ok=True)
        state, config = form.adapter.files(form.whole(tensors))
        safetensors_file.replace(folder / ADAPTER, state, {"format": "pt", **metadata})
        with replacing(folder / ADAPTER_CONFIG) as file:
            file.write(config.encode())
    safetensors_file.replace(path, form.state(tensors), metadata)

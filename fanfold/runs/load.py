"""A model file's tensors in a network."""

from pathlib import Path

import torch
from torch import Tensor, nn

from fanfold.coordinator.persistence.model_names import MODEL
from fanfold.learning import TensorsError, replace_tensors, walk
from fanfold.schemas.errors import InvalidInputError
from fanfold.storage import safetensors_file

FEW = 3


def load(path: str | Path, network: nn.Module, *, strict: bool = True) -> nn.Module:
    """Copy the tensors of a model file into a network, and return it in evaluation mode.

    Args:
        path: a safetensors file, or the folder of a run, whose last model it is then.
        network: with tensors of the same names and shapes. Device and dtype stay as they are.
        strict: refuse a file that lacks some of the network's tensors. False leaves those as they
            are, such as tensors that stay private.

    Raises:
        InvalidInputError: if there is no such file, it is damaged, or it does not fit; the network
            has not changed.

    Example:
        >>> network = fanfold.load("runs/scans/best.safetensors", Radiology().network())
        >>> network(scans).argmax(1)
    """
    file = Path(path)
    if file.is_dir():
        file /= MODEL
    values = _read(file)
    try:
        targets = {found.name: found.tensor.detach() for found in walk(network)}
        if strict:
            _check_complete(targets, values)
        replace_tensors(*_alike(targets, values))
    except TensorsError as error:
        raise InvalidInputError(f"{file} does not fit the network: {error}") from None
    return network.eval()


def _read(file: Path) -> dict[str, Tensor]:
    try:
        return safetensors_file.read(file)[0]
    except safetensors_file.DamagedFileError as error:
        raise InvalidInputError(str(error)) from None
    except OSError as error:
        reason = error.strerror or "No such file or directory"
        raise InvalidInputError(
            f"there is no model in {file} ({reason}); a run writes it at its end"
        ) from None


def _check_complete(targets: dict[str, Tensor], values: dict[str, Tensor]) -> None:
    missing = [name for name in targets if name not in values]
    if missing:
        more = f" and {len(missing) - FEW} more" if len(missing) > FEW else ""
        raise TensorsError(
            f"it lacks {', '.join(missing[:FEW])}{more}; where those stayed private, strict=False "
            "keeps the network's own"
        )


def _alike(
    targets: dict[str, Tensor], values: dict[str, Tensor]
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return both with complex tensors as real ones, which is how some lie in a file."""
    return (
        {name: _real(tensor) for name, tensor in targets.items()},
        {name: _real(tensor) for name, tensor in values.items()},
    )


def _real(tensor: Tensor) -> Tensor:
    return torch.view_as_real(tensor) if tensor.is_complex() else tensor

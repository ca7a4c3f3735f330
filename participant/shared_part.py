"""The tensors of a network that travel: put into it from a version, read from it after training."""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from fanfold.learning import (
    TensorsError,
    named_parameters,
    named_tensors,
    replace_tensors,
    shared_tensors,
    tied_names,
    walk,
)
from fanfold.schemas.errors import InvalidInputError
from fanfold.schemas.tensor_table import Kind


class SharedPart:
    """What is shared of one network, as it was built: a tensor that its use adds stays here.

    Shapes and dtypes are the network's own; its tensors may lie on any device, those of versions
    and updates lie on the CPU.

    Attributes:
        form: shape and dtype by name. A buffer that has another shape later is a cache that follows
            the data, such as a mask.
    """

    def __init__(self, network: nn.Module, patterns: Sequence[str]) -> None:
        """Take note of what a network holds.

        Args:
            network: as the task built it.
            patterns: that choose what is shared, as `Task.shared` has them.

        Raises:
            TensorsError: if a pattern matches no tensor, or nothing is left to share.
        """
        self._network = network
        self._built = frozenset(named_tensors(network))
        tensors = shared_tensors(network, patterns)
        self.form = {name: (tensor.shape, tensor.dtype) for name, tensor in tensors.items()}

    def tensors(self) -> dict[str, Tensor]:
        """Return the tensors that are shared, live and detached, by name."""
        tensors = named_tensors(self._network)
        return {name: tensor for name, tensor in tensors.items() if name in self.form}

    def others(self) -> dict[str, Tensor]:
        """Return those that are not, likewise."""
        names = self._built - self.form.keys()
        tensors = named_tensors(self._network) if names else {}
        return {name: tensor for name, tensor in tensors.items() if name in names}

    def put(self, base: Mapping[str, Tensor], *, is_whole: bool) -> None:
        """Give the network the values of a version; a cache of another shape stays as it is.

        Args:
            base: the version's tensors by name.
            is_whole: whether every shared tensor has to be there.

        Raises:
            InvalidInputError: if the version is not one of such a network.
        """
        shared = self.tensors()
        missing = sorted(shared.keys() - base.keys()) if is_whole else []
        problem = f"{', '.join(missing)} did not come with the version" if missing else ""
        try:
            replace_tensors(
                shared,
                {name: each for name, each in base.items() if not self._has_grown(name, shared)},
            )
        except TensorsError as error:
            problem = str(error)
        if problem:
            raise InvalidInputError(
                f"the coordinator trains another network than this participant's task: {problem}; "
                "start both with the same --task"
            )

    def changes(
        self,
        base: Mapping[str, Tensor],
        note: Callable[[str], None],
        *,
        room: Mapping[str, Tensor] | None = None,
    ) -> tuple[dict[str, Tensor], dict[str, Kind]]:
        """Return what an update says of each shared tensor that trains, and its kind, by name.

        Args:
            base: the version's tensors by name.
            note: told of a buffer that is left out, because its shape follows the data.
            room: what this returned for an earlier version and nobody needs any more, by name:
                deltas may take its memory.

        Returns:
            A floating parameter's delta, after minus before, and a buffer's value; in the dtypes of
            `base`. A frozen parameter is left out.

        Raises:
            InvalidInputError: if the training made parameters, or gave one another shape.
        """
        found = tuple(walk(self._network))
        parameters = named_parameters(found)
        self._check_none_is_late(parameters)
        tensors: dict[str, Tensor] = {}
        kinds: dict[str, Kind] = {}
        for name, after in named_tensors(found).items():
            if name not in base or name not in self.form:
                continue
            parameter = parameters.get(name)
            is_delta = parameter is not None and after.is_floating_point()
            if parameter is not None and not parameter.requires_grad and is_delta:
                continue  # a frozen layer is a partial update: it is not sent
            if after.shape != self.form[name][0]:
                self._leave_out(name, after, note, is_parameter=parameter is not None)
                continue
            kinds[name] = "delta" if is_delta else "value"
            here = after.to("cpu", copy=not is_delta)
            if is_delta:
                here = _difference(here, base[name], (room or {}).get(name))
            tensors[name] = here.to(base[name].dtype)
        return tensors, kinds

    def _has_grown(self, name: str, shared: Mapping[str, Tensor]) -> bool:
        """Whether this is a cache, which stays here."""
        return name in shared and shared[name].shape != self.form[name][0]

    def _check_none_is_late(self, parameters: Mapping[str, nn.Parameter]) -> None:
        late = parameters.keys() - self._built
        if names := sorted(late and late - tied_names(self._network).keys()):
            raise InvalidInputError(
                f"{', '.join(names)} came into the network while it was trained, and no version "
                "holds it; make all parameters in the task's `network`, for instance by running a "
                "batch through it there"
            )

    def _leave_out(
        self, name: str, after: Tensor, note: Callable[[str], None], *, is_parameter: bool
    ) -> None:
        """Tell of a tensor that has another shape after the training than before."""
        was, now = list(self.form[name][0]), list(after.shape)
        if is_parameter:
            raise InvalidInputError(
                f"{name} had the shape {was} before the training and has {now} after it; give the "
                "network its final form in the task's `network`, the same for everybody"
            )
        note(
            f"the buffer {name} had the shape {was} before the training and has {now} after it: "
            "it follows the data, so it stays here; declare it with persistent=False, or leave it "
            "out with the task's `shared`"
        )


def _difference(after: Tensor, before: Tensor, room: Tensor | None) -> Tensor:
    """Return after - before, in the memory of `room` where that fits.

    Memory that was used before is mapped already, which costs more than the subtraction.
    """
    form = after.shape, after.dtype
    fits = room is not None and form == (room.shape, room.dtype) == (before.shape, before.dtype)
    return torch.sub(after, before, out=room if fits else None)

"""The global tensors of a run, and the sum that becomes their next step."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from fanfold.coordinator.aggregation.optimizer_spec import OptimizerSpec
from fanfold.coordinator.aggregation.running_sum import RunningSum, holes_of
from fanfold.coordinator.aggregation.server_optimizer import ServerOptimizer
from fanfold.coordinator.aggregation.tensor_checks import signature
from fanfold.schemas.errors import InvalidInputError
from fanfold.schemas.tensor_table import Kind


class GlobalModel:
    """Version r-1 while round r is open, the round's sum, and the optimizer that makes r of both.

    All tensors are on the CPU. Those of the model are changed in place, so that whoever holds them
    sees each version.
    """

    def __init__(
        self, tensors: Mapping[str, Tensor], kinds: Mapping[str, Kind], optimizer: OptimizerSpec
    ) -> None:
        """Begin with the tensors of version 0.

        Args:
            tensors: by name; they are changed from now on.
            kinds: `delta` for floating parameters, `value` for everything else.
            optimizer: the server optimizer's class and arguments.
        """
        self.tensors = dict(tensors)
        self.kinds = dict(kinds)
        self._optimizer = ServerOptimizer(optimizer, self.tensors, self.kinds)
        self._holes = holes_of(self.tensors)
        self.running = self._new_sum()
        """The sum of the open round; each round has a new one."""

    def step(self, *, largest_staleness: int) -> str | None:
        """Use the sum up for the next version, and begin another one.

        Args:
            largest_staleness: of the updates in the sum.

        Returns:
            The name of a tensor that would not be finite any more: then no tensor has changed, and
            no other step may follow. None if all is well.
        """
        broken = self._optimizer.apply(self.running, largest_staleness=largest_staleness)
        if broken is None:
            self._holes = holes_of({name: self.tensors[name] for name in self._holes})
            self.running = self._new_sum(room=self.running.spent)
        return broken

    def become(self, tensors: Mapping[str, Tensor]) -> None:
        """Take the values of other tensors, whose names, shapes and dtypes are the same.

        What is in the sum goes.
        """
        for name, tensor in tensors.items():
            self.tensors[name].copy_(tensor)
        for name, master in self._optimizer.masters.items():
            master.copy_(self.tensors[name])
        self._holes = holes_of(self.tensors)
        self.running = self._new_sum()

    def go_on_with(self, optimizer: OptimizerSpec) -> None:
        """Take steps with another optimizer from now on, which goes on from this one's state.

        Raises:
            InvalidInputError: if it cannot.
        """
        state, masters = self._optimizer.state(), self._optimizer.masters
        self._optimizer = ServerOptimizer(optimizer, self.tensors, self.kinds, masters)
        self._optimizer.load_state(state)

    def state(self) -> tuple[dict[str, Any], dict[str, Mapping[str, Tensor]]]:
        """Return a JSON document, and tensors by part and name, which are not copied."""
        parts: dict[str, Mapping[str, Tensor]] = {
            "parameters": self.tensors,
            "optimizer": self._optimizer.state(),
            "masters": self._optimizer.masters,
            "sum": self.running.sums,
            "begun": self.running.begun,
        }
        return {"kinds": self.kinds, **self.running.state()}, parts

    def restore(
        self, document: Mapping[str, Any], parts: Mapping[str, Mapping[str, Tensor]]
    ) -> None:
        """Take back what `state` returned.

        Raises:
            InvalidInputError: if it does not fit the tensors or the optimizer.
        """
        if signature(parts["parameters"]) != signature(self.tensors):
            raise InvalidInputError(
                "the checkpoint's tensors are not those of this task's network; resume with the "
                "task the run began with, or start anew with --fresh"
            )
        self.become(parts["parameters"])
        for name, master in parts["masters"].items():  # older checkpoints have none
            self._optimizer.masters[name].copy_(master)
        self._optimizer.load_state(parts["optimizer"])
        self.running.restore(document, sums=parts["sum"], begun=parts["begun"])

    def _new_sum(self, room: Mapping[str, Tensor] | None = None) -> RunningSum:
        """Return the sum of a round; values count from the masters where there are any."""
        tensors = {**self.tensors, **self._optimizer.masters}
        return RunningSum(tensors, self.kinds, self._holes, room=room)

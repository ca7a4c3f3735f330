"""Fanfold: asynchronous federated learning over RabbitMQ.

What a task, a script or a notebook imports:

- `Task`: a network, private data, and how one learns from the other. Derive from it.
- `TaskError`: raise it when the data cannot be had; the command line shows its one sentence.
- `TrainingPlan`: how a participant trains, as plain values.
- `Partition`: a way to divide one dataset among participants, for experiments on one machine.
- `Client`: one participant without any messaging.
- `TrackedModule`: a network whose layers can be read, replaced and trained by name.
- `FederatedNet`: the default network, a small one for images of 28x28.
- `Digits`: the default task, handwritten digits that come with the package.
- `Folding`, `ByCoordinate`, `ByDistance`: kinds of aggregation rules. Derive one of your own.

Each is loaded when it is first asked for, because all of them need torch, and importing `fanfold`
does not. Everything else is internal and may change without notice.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fanfold.coordinator.aggregation.aggregator import ByCoordinate, ByDistance, Folding
    from fanfold.learning import (
        Client,
        FederatedNet,
        Partition,
        Task,
        TaskError,
        TrackedModule,
        TrainingPlan,
    )
    from fanfold.learning.digits import Digits

__all__ = [
    "ByCoordinate",
    "ByDistance",
    "Client",
    "Digits",
    "FederatedNet",
    "Folding",
    "Partition",
    "Task",
    "TaskError",
    "TrackedModule",
    "TrainingPlan",
]

_RULES = ("ByCoordinate", "ByDistance", "Folding")
_MODULES = (
    dict.fromkeys(__all__, "fanfold.learning")
    | {"Digits": "fanfold.learning.digits"}
    | dict.fromkeys(_RULES, "fanfold.coordinator.aggregation.aggregator")
)

if not TYPE_CHECKING:  # where it is checked, a name that does not exist is an error

    def __getattr__(name: str) -> object:
        """Load a public name when it is first asked for.

        Raises:
            AttributeError: There is no such name.
        """
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = globals()[name] = getattr(import_module(_MODULES[name]), name)
        return value

    def __dir__() -> list[str]:
        """Return the public names, for the completion of a console or notebook."""
        return sorted({*globals(), *__all__})

"""Fanfold: asynchronous federated learning over RabbitMQ.

What a script or a notebook calls:

- `run`: train a federation as processes on this machine, as `fanfold local` does.
- `simulate`: train one in this process, in simulated time; `compare` does so in several modes.
- `Run`: what they return, and what opens the folder of any run: history, models, plot.
- `load`: copy a model file into a network.
- `FanfoldError`: what they raise if something cannot be used, with one sentence.

What a task imports:

- `Task`: a network, private data, and how one learns from the other. Derive from it.
- `TaskError`: raise it when the data cannot be had; the command line shows its one sentence.
- `TrainingPlan`: how a participant trains, as plain values.
- `Partition`: a way to divide one dataset among participants, for experiments on one machine.
- `HFTask`: a task that tunes a model of transformers with LoRA; needs `fanfold[hf]`.
- `OverAll`: a metric of whole evaluations, from a function such as scikit-learn's.
- `Client`: one participant without any messaging.
- `TrackedModule`: a network whose layers can be read, replaced and trained by name.
- `FederatedNet`: the default network, a small one for images of 28x28.
- `Digits`: the default task, handwritten digits that come with the package.
- `Folding`, `ByCoordinate`, `ByDistance`: kinds of aggregation rules. Derive one of your own.

Each is loaded when it is first asked for, because most of them need torch, and importing `fanfold`
does not. Everything else is internal and may change without notice.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fanfold.api.run import run
    from fanfold.api.simulate import compare, simulate
    from fanfold.coordinator.aggregation.aggregator import ByCoordinate, ByDistance, Folding
    from fanfold.learning import (
        Client,
        FederatedNet,
        OverAll,
        Partition,
        Task,
        TaskError,
        TrackedModule,
        TrainingPlan,
    )
    from fanfold.learning.digits import Digits
    from fanfold.learning.hugging_face import HFTask
    from fanfold.runs.load import load
    from fanfold.runs.run import Run
    from fanfold.schemas.errors import FanfoldError

__all__ = [
    "ByCoordinate",
    "ByDistance",
    "Client",
    "Digits",
    "FanfoldError",
    "FederatedNet",
    "Folding",
    "HFTask",
    "OverAll",
    "Partition",
    "Run",
    "Task",
    "TaskError",
    "TrackedModule",
    "TrainingPlan",
    "compare",
    "load",
    "run",
    "simulate",
]

_MODULES = dict.fromkeys(__all__, "fanfold.learning") | {
    "ByCoordinate": "fanfold.coordinator.aggregation.aggregator",
    "ByDistance": "fanfold.coordinator.aggregation.aggregator",
    "Digits": "fanfold.learning.digits",
    "FanfoldError": "fanfold.schemas.errors",
    "Folding": "fanfold.coordinator.aggregation.aggregator",
    "HFTask": "fanfold.learning.hugging_face",
    "Run": "fanfold.runs.run",
    "compare": "fanfold.api.simulate",
    "load": "fanfold.runs.load",
    "run": "fanfold.api.run",
    "simulate": "fanfold.api.simulate",
}

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

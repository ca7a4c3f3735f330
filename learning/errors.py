"""The exceptions of `learning`: a user's mistakes, in one sentence each, and a training stopped."""


class LearningError(ValueError):
    """Base of all errors that follow from what a user gave: a task, a dataset, a network."""


class TaskError(LearningError):
    """Raised when a task cannot be found, is not a `Task`, or cannot read its data."""


class TaskFailedError(TaskError):
    """Raised when a task's own code raises; its sentence may hold private data, and stays here."""


class DeviceError(LearningError):
    """Raised when the named device is not on this machine."""


class TensorsError(LearningError):
    """Raised when named tensors do not fit a network, before anything has changed."""


class TrainingAbandoned(Exception):  # noqa: N818 - no error: the stop was requested
    """Raised by a training or evaluation that was told to stop; the network is partly trained.

    Attributes:
        step: optimizer steps taken, or batches evaluated.
        steps: how many there would have been without the stop.
    """

    def __init__(self, step: int, steps: int) -> None:
        super().__init__(f"abandoned after {step} of {steps} steps")
        self.step = step
        self.steps = steps

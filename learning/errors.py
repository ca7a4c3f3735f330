"""What learning raises on purpose: mistakes of the user in one sentence, and one request obeyed."""


class LearningError(ValueError):
    """The root of the user's mistakes: what was given cannot be trained with."""


class TaskError(LearningError):
    """Raised when a task cannot be found, is not one, or cannot get at its data."""


class DeviceError(LearningError):
    """Raised when the named device is not on this machine."""


class TensorsError(LearningError):
    """Raised when named tensors do not fit a network, before anything has changed."""


class TrainingAbandoned(Exception):  # noqa: N818 - it is no error: somebody asked for it
    """Raised by a training or evaluation that was told to stop; the network is left halfway.

    Attributes:
        step: Optimizer steps taken, or batches evaluated.
        steps: How many there would have been.
    """

    def __init__(self, step: int, steps: int) -> None:
        super().__init__(f"abandoned after {step} of {steps} steps")
        self.step = step
        self.steps = steps

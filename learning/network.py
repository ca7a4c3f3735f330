"""The default network."""

from torch import Tensor, nn
from torch.nn.functional import max_pool2d, relu

from fanfold.learning.tracking import TrackedModule


class FederatedNet(TrackedModule):
    """Two convolutions and a linear layer for images of 1x28x28: 65,850 parameters.

    Shape:
        [N, 1, 28, 28] -> [N, 10], float.
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 20, kernel_size=7)
        self.conv2 = nn.Conv2d(20, 40, kernel_size=7)
        self.linear = nn.Linear(2560, 10)

    def forward(self, images: Tensor) -> Tensor:
        """Return the scores (logits) of the ten classes."""
        hidden = relu(self.conv1(images))  # [N, 20, 22, 22]
        hidden = relu(self.conv2(hidden))  # [N, 40, 16, 16]
        hidden = max_pool2d(hidden, 2)  # [N, 40, 8, 8]
        scores: Tensor = self.linear(hidden.flatten(1))
        return scores

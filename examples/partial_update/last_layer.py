"""Fine-tuning: the convolutions are frozen; only the last layer is trained and sent.

    cd examples/partial_update && fanfold local --task last_layer:LastLayer --rounds 5

What is frozen does not travel: everybody has it from the task, and a digest in every version says
that it is the same one. The model in the end is whole.
"""

from fanfold import Digits, FederatedNet


class LastLayer(Digits):
    """The digits, with a feature extractor that is not trained."""

    def network(self) -> FederatedNet:
        """Return a network with frozen convolutions: updates leave out what needs no gradient."""
        network = super().network()
        for layer in (network.conv1, network.conv2):
            layer.requires_grad_(False)
        return network

"""Fine-tuning: the convolutions are frozen; only the last layer is trained and sent.

    cd examples/partial_update && fanfold local --task last_layer:LastLayer --rounds 5

Versions still contain all layers, so that a participant that joins later gets the whole network.
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

"""Fine-tuning: the convolutions are frozen, so only the last layer is trained and sent.

    cd examples/partial_update && fanfold local --task last_layer:LastLayer --rounds 5

Versions still carry all layers, so that whoever joins has the whole network.
"""

from fanfold import Digits, FederatedNet


class LastLayer(Digits):
    """The digits, with a feature extractor that stays as it is."""

    def network(self) -> FederatedNet:
        """Whatever does not require gradients is left out of the updates."""
        network = super().network()
        for layer in (network.conv1, network.conv2):
            layer.requires_grad_(False)
        return network
